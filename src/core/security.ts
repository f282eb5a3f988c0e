/** What TLS has found out about a connection. */
export interface Security {
  /** `TLSv1.3` or `TLSv1.2`. */
  readonly protocol: string;
  /** The host that the client asked for (SNI), lower-case; `undefined` where it named none. */
  readonly serverName: string | undefined;
  /** Whom the client's certificate is about, as `CN=ada, O=Pond`; `undefined` where it showed none, or none to be trusted. */
  readonly subject: string | undefined;
  /** What is wrong with the client's certificate, a sentence: the connection is refused. */
  readonly fault: string | undefined;
}
