/** The version this SDK tells: that of the web package whose calls it has, since servers read it from the PushID. */
export declare const VERSION = "2.5.0";
