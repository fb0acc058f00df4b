/** Part of an IM client that the SDK needs. Any object with this method is accepted. */
export interface ZIMLike {
    engine?: {
        setZPNsContext?: (context: {
            pushSDKVersion: string;
            pushID: string;
        }) => unknown;
    };
}
/** Passes the token to the IM client, which sends it to its server now or at the next login. An empty token unbinds. */
export declare function passToken(zim: ZIMLike | null | undefined, token: string): Promise<void>;
/** Returns the PushID of a token, for servers that receive it without the IM client. */
export declare function envelope(token: string): string;
