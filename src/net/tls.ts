/** TLS: the certificates, their reload, and the socket that encrypts a connection. */
import type { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, TLSSocket, type TLSSocketOptions } from 'node:tls';
import { scheduleRead } from '../core/poll.ts';
import type { Configuration } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import { checkTls, readAuthority, readPemPair } from '../options/tls.ts';
import type { Security } from '../records/identity.ts';
import type { Connection, Server, Socket } from '../records/records.ts';
import { stampOf } from '../storage/links.ts';
import { HandleSocket } from './handleSocket.ts';
import { StreamSocket } from './streamSocket.ts';

/** TLS beneath the connections of a server. */
export interface Secure {
  /** Whether a certificate is configured, and the connection has a socket of its own, which can be encrypted. */
  isPossible(connection: Connection): boolean;
  /**
   * Puts a TLS socket under the connection, which then reads decrypted bytes. `connection.security` is set when the TLS
   * handshake is complete.
   * @param hello the bytes that have arrived already; they are copied
   * @returns false, without any effect, if it is not possible
   */
  begin(connection: Connection, hello: Buffer): boolean;
}

/** A certificate with its key. */
interface Identity {
  readonly certificate: X509Certificate;
  readonly context: SecureContext;
}

/**
 * Reads the configured certificates, and reads them again on each reload. Open connections keep their certificate.
 * @throws UsageError that names the unusable file
 */
export async function openTls(server: Server): Promise<Secure> {
  let identities = await readIdentities(server.configuration);
  server.reloadables.push({
    async prepare(next) {
      const read = await readIdentities(next);
      return () => {
        const changes = changesOf(identities, read);
        identities = read;
        return changes;
      };
    },
  });

  return {
    isPossible: ({ socket }) => identities.length > 0 && isReal(socket),

    begin(connection, hello) {
      const { socket } = connection;
      if (identities.length === 0 || !isReal(socket)) return false;
      const carrier = socket.release(Buffer.from(hello));
      const stream = new TLSSocket(carrier, optionsFor(connection, identities));
      const secured = new StreamSocket(stream, carrier);
      // Without a `tls.Server`, handshake errors arrive only by this event.
      stream.on('_tlsError', secured.onError);
      stream.once('secure', () => {
        connection.security = securityOf(stream, server.configuration.tlsClient);
        // The wire inside begins even if the peer sends nothing.
        scheduleRead(connection);
      });
      connection.socket = secured;
      secured.start(connection);
      return true;
    },
  };
}

function isReal(socket: Socket): socket is HandleSocket | StreamSocket {
  return socket instanceof HandleSocket || socket instanceof StreamSocket;
}

function optionsFor({ server }: Connection, identities: readonly Identity[]): TLSSocketOptions {
  const { tlsClient } = server.configuration;
  return {
    isServer: true,
    secureContext: identities[0]!.context,
    // RFC 7301: WebSocket (RFC 6455) needs HTTP/1.1, not HTTP/2.
    ALPNProtocols: ['http/1.1'],
    requestCert: tlsClient !== 'off',
    // `securityOf` records the fault, and the wire reports it in its own protocol, as nginx does.
    rejectUnauthorized: false,
    ...(identities.length > 1
      ? { SNICallback: (name, done) => done(null, contextFor(name, identities)) }
      : {}),
  };
}

/** The first certificate that matches the server name (RFC 6066 §3), or the first of all. */
function contextFor(serverName: string, identities: readonly Identity[]): SecureContext {
  const fitting = identities.find(({ certificate }) => certificate.checkHost(serverName) !== undefined);
  return (fitting ?? identities[0]!).context;
}

/** What a completed TLS handshake established. */
function securityOf(stream: TLSSocket, tlsClient: Configuration['tlsClient']): Security {
  const serverName = typeof stream.servername === 'string' ? stream.servername : undefined;
  const protocol = stream.getProtocol() ?? 'TLS';
  const certificate = stream.getPeerX509Certificate();
  if (certificate === undefined) {
    const fault =
      tlsClient === 'require' ? 'a client certificate is required, but the client sent none' : undefined;
    return { protocol, serverName, subject: undefined, fault };
  }
  const error = verifyError(stream);
  if (error === undefined) return { protocol, serverName, subject: namesIn(certificate), fault: undefined };
  const fault = `the client certificate is not trusted: ${error}`;
  return { protocol, serverName, subject: undefined, fault };
}

/** The subject, as in `CN=ada, O=Pond`. */
function namesIn({ subject }: X509Certificate): string {
  return subject.split('\n').join(', ');
}

/** OpenSSL's verdict on the client certificate. Node's `tls.Server` reads it from the same place. */
function verifyError(stream: TLSSocket): string | undefined {
  type Handle = { verifyError?(): Error | null };
  const handle = (stream as unknown as { _handle?: Handle | null })._handle;
  if (typeof handle?.verifyError !== 'function') return 'this version of Node cannot verify it';
  return handle.verifyError()?.message;
}

/** How often to read the files at most, because a renewal may replace the certificate and key one after the other. */
const maxTries = 5;

/** Reads a consistent set of files: if one changes meanwhile, all are read again. @throws UsageError */
export async function readIdentities(configuration: Configuration): Promise<readonly Identity[]> {
  const { tlsCert, tlsKey, tlsCa } = configuration;
  const files = [...tlsCert, ...tlsKey, ...tlsCa];
  const stamps = async () => (await Promise.all(files.map(stampOf))).join('\n');
  for (let tries = 1; ; tries++) {
    const before = await stamps();
    const hasChanged = async () => tries < maxTries && (await stamps()) !== before;
    try {
      const identities = await readOnce(configuration);
      if (!(await hasChanged())) return identities;
    } catch (error) {
      if (!(await hasChanged())) throw error;
    }
  }
}

async function readOnce(configuration: Configuration): Promise<readonly Identity[]> {
  const { tlsCert, tlsKey, tlsCa } = configuration;
  checkTls(configuration);
  const authorities = await Promise.all(tlsCa.map(file => readAuthority({ option: '--tls-ca', file })));
  return Promise.all(tlsCert.map((cert, at) => readIdentity(cert, tlsKey[at]!, authorities)));
}

async function readIdentity(
  certFile: string,
  keyFile: string,
  authorities: readonly Buffer[],
): Promise<Identity> {
  const { cert, key, certificate } = await readPemPair(
    { option: '--tls-cert', file: certFile },
    { option: '--tls-key', file: keyFile },
  );
  try {
    const context = createSecureContext({
      cert,
      key,
      ...(authorities.length > 0 ? { ca: [...authorities] } : {}),
      minVersion: 'TLSv1.2',
      // With client certificates, OpenSSL resumes only sessions that have the same context.
      sessionIdContext: 'pollywog',
    });
    return { certificate, context };
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(`--tls-cert ${certFile} and --tls-key ${keyFile} cannot be used: ${message}`);
  }
}

/** A sentence for each certificate that was added or removed. */
function changesOf(before: readonly Identity[], after: readonly Identity[]): string[] {
  const missingIn = (list: readonly Identity[]) => (one: Identity) =>
    list.every(other => other.certificate.fingerprint256 !== one.certificate.fingerprint256);
  const show = ({ certificate }: Identity) => `${namesIn(certificate)} (until ${certificate.validTo})`;
  return [
    ...after.filter(missingIn(before)).map(one => `certificate added: ${show(one)}`),
    ...before.filter(missingIn(after)).map(one => `certificate removed: ${show(one)}`),
  ];
}
