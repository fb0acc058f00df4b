/** Reported version: that of the ZPNs web package with the same calls, because servers read it from the PushID. */
export const VERSION = "2.5.0";
