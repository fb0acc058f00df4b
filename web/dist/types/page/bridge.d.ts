/** What is needed of an IM client: any object with this method will do. */
export interface ZIMLike {
    engine?: {
        setZPNsContext?: (context: {
            pushSDKVersion: string;
            pushID: string;
        }) => unknown;
    };
}
/** Hands the token to the IM client, which tells its server at once or with the next login; an empty one unbinds. */
export declare function tell(zim: ZIMLike | null | undefined, token: string): Promise<void>;
/** The PushID of a token, for servers that get it by another way than the IM client. */
export declare function envelope(token: string): string;
