/** Why there is no connection, in a sentence that says what to do. */
import type { ResponseHead } from '../protocol/http.ts';
import type { Configuration } from './configuration.ts';
import { type Ending, Exit, ending } from './ending.ts';

/** Those of OpenSSL's and Node's that say the certificate is not to be trusted. */
const certificateFaults = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|ALTNAME/;

export function connectFailure(error: NodeJS.ErrnoException, { address }: Configuration): Ending {
  const { shown, target } = address;
  const code = error.code ?? '';
  if ('path' in target && (code === 'ENOENT' || code === 'ENOTSOCK' || code === 'ECONNREFUSED')) {
    return ending(Exit.NoServer, `nothing listens at ${target.path}; is the server running?`, true);
  }
  if (code === 'ECONNREFUSED') {
    return ending(Exit.NoServer, `nothing listens at ${shown}; is the server running?`, true);
  }
  if (code === 'ENOTFOUND' && 'host' in target) {
    return ending(Exit.Failed, `there is no host called ${target.host}`, true);
  }
  if (certificateFaults.test(code)) {
    const sentence = `the certificate of ${shown} is not trusted: ${error.message}; --insecure takes it anyhow`;
    return ending(Exit.Failed, sentence);
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) {
    const why = opensslReason(error.message);
    return ending(Exit.Failed, `${shown} does not speak TLS as we do: ${why}; perhaps it is to be ws://`);
  }
  return ending(Exit.Failed, `cannot connect to ${shown}: ${error.message || code}`, true);
}

/** `40E7:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/…:` is for who works on OpenSSL. */
function opensslReason(message: string): string {
  return /:error:[^:]*:[^:]*:[^:]*:([^:]+)/.exec(message)?.[1] ?? message.trim();
}

/** @param body the beginning of the response's body: its first line is the server's sentence */
export function refusal({ status, reason, headers }: ResponseHead, body: string): Ending {
  const isText = !/html|chunked/i.test(
    `${headers.get('content-type') ?? ''} ${headers.get('transfer-encoding') ?? ''}`,
  );
  const [line = ''] = isText ? body.trimStart().split('\n', 1) : [];
  const location = headers.get('location');
  const parts = [
    `refused: ${status} ${reason}`.trimEnd(),
    ...(line.trim() === '' ? [] : [line.trim().slice(0, 500)]),
    ...(location === undefined ? [] : [`it points to ${location}`]),
  ];
  // RFC 9110 §15.6, RFC 6585 §4: what is the server's own trouble may be over soon.
  return ending(Exit.Refused, parts.join(': '), status >= 500 || status === 429);
}
