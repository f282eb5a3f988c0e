/** TLS between a connection and its socket: the certificates, their reload, and the handshake. */
import type { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, TLSSocket, type TLSSocketOptions } from 'node:tls';
import type { Connection } from '../core/connection.ts';
import { scheduleRead } from '../core/poll.ts';
import type { Security } from '../core/security.ts';
import type { Server } from '../core/server.ts';
import type { Configuration } from '../options/configuration.ts';
import { UsageError } from '../options/error.ts';
import { checkTls, readAuthority, readPemPair } from '../options/tls.ts';
import { stampOf } from '../storage/links.ts';
import { HandleSocket } from './handleSocket.ts';
import { StreamSocket } from './streamSocket.ts';

/**
 * Lets TLS have the connection's socket, and `hello`, the bytes that came already, which are copied. From then on the
 * connection gets what TLS has deciphered; `connection.security` is set when the handshake is done.
 * @returns false where no certificate is configured: nothing has happened
 */
export type Secure = (connection: Connection, hello: Buffer) => boolean;

/** A certificate and its key, ready for use. */
interface Identity {
  readonly certificate: X509Certificate;
  readonly context: SecureContext;
}

/**
 * Reads what certificates are configured; they are read again on reload. Connections that are open keep theirs.
 * @throws UsageError, which names the file that cannot be used
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

  return (connection, hello) => {
    const { socket } = connection;
    if (identities.length === 0) return false;
    // These are all the sockets there are.
    if (!(socket instanceof HandleSocket || socket instanceof StreamSocket)) return false;
    const stream = new TLSSocket(socket.release(Buffer.from(hello)), optionsFor(connection, identities));
    // Errors of the handshake are told here only, those of Node's `tls.Server` are told as it does.
    const secured = new StreamSocket(stream);
    stream.on('_tlsError', secured.onError);
    stream.once('secure', () => {
      connection.security = securityOf(stream, server.configuration.tlsClient);
      // The wire inside begins, even if its peer waits to be spoken to.
      scheduleRead(connection);
    });
    connection.socket = secured;
    secured.start(connection);
    return true;
  };
}

function optionsFor({ server }: Connection, identities: readonly Identity[]): TLSSocketOptions {
  const { tlsClient } = server.configuration;
  return {
    isServer: true,
    secureContext: identities[0]!.context,
    // RFC 6455 is about HTTP/1.1; RFC 7301 lets us say so.
    ALPNProtocols: ['http/1.1'],
    requestCert: tlsClient !== 'off',
    // What is wrong with it, `securityOf` finds out, and the wire tells in its own words, as nginx does.
    rejectUnauthorized: false,
    ...(identities.length > 1
      ? { SNICallback: (name, done) => done(null, contextFor(name, identities)) }
      : {}),
  };
}

/** The first whose certificate is for this name (RFC 6066 §3). */
function contextFor(serverName: string, identities: readonly Identity[]): SecureContext {
  const fitting = identities.find(({ certificate }) => certificate.checkHost(serverName) !== undefined);
  return (fitting ?? identities[0]!).context;
}

/** The handshake is done. */
function securityOf(stream: TLSSocket, tlsClient: Configuration['tlsClient']): Security {
  const serverName = typeof stream.servername === 'string' ? stream.servername : undefined;
  const protocol = stream.getProtocol() ?? 'TLS';
  const certificate = stream.getPeerX509Certificate();
  if (certificate === undefined) {
    const fault =
      tlsClient === 'require' ? 'a client certificate is required, and none was shown' : undefined;
    return { protocol, serverName, subject: undefined, fault };
  }
  const error = verifyError(stream);
  if (error === undefined) return { protocol, serverName, subject: namesIn(certificate), fault: undefined };
  const fault = `the client certificate is not trusted: ${error}`;
  return { protocol, serverName, subject: undefined, fault };
}

/** `CN=ada, O=Pond` */
function namesIn({ subject }: X509Certificate): string {
  return subject.split('\n').join(', ');
}

/** Node has OpenSSL look at the certificate, but ends no connection for what it finds; its `tls.Server` asks here, too. */
function verifyError(stream: TLSSocket): string | undefined {
  type Handle = { verifyError?(): Error | null };
  const handle = (stream as unknown as { _handle?: Handle | null })._handle;
  if (typeof handle?.verifyError !== 'function') return 'it cannot be verified with this version of Node';
  return handle.verifyError()?.message;
}

/** A renewal writes the certificate and its key one after the other, or switches a link to both. */
const mostTries = 5;

/** All as they are at one moment: what changes while it is read is read again. @throws UsageError */
async function readIdentities(configuration: Configuration): Promise<readonly Identity[]> {
  const { tlsCert, tlsKey, tlsCa } = configuration;
  const files = [...tlsCert, ...tlsKey, ...tlsCa];
  const stamps = async () => (await Promise.all(files.map(stampOf))).join('\n');
  for (let tries = 1; ; tries++) {
    const before = await stamps();
    const hasChanged = async () => tries < mostTries && (await stamps()) !== before;
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
      // Where client certificates are asked for, OpenSSL resumes sessions of the same context only.
      sessionIdContext: 'pollywog',
    });
    return { certificate, context };
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(`--tls-cert ${certFile} and --tls-key ${keyFile} cannot be used: ${message}`);
  }
}

/** A sentence for each certificate that is new, and for each that is not used any more. */
function changesOf(before: readonly Identity[], after: readonly Identity[]): string[] {
  const missingIn = (list: readonly Identity[]) => (one: Identity) =>
    list.every(other => other.certificate.fingerprint256 !== one.certificate.fingerprint256);
  const show = ({ certificate }: Identity) => `${namesIn(certificate)} (until ${certificate.validTo})`;
  return [
    ...after.filter(missingIn(before)).map(one => `a new certificate: ${show(one)}`),
    ...before.filter(missingIn(after)).map(one => `no longer a certificate: ${show(one)}`),
  ];
}
