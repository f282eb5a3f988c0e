/** Why there is no connection, in a sentence that says what to do. */
import type { ResponseHead } from '../protocol/http/head.ts';
import type { Configuration } from './configuration.ts';
import { type Ending, Exit, ending } from './ending.ts';

/** Those of OpenSSL's and Node's that say the certificate is not to be trusted. */
const certificateFaults = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|ALTNAME/;

const authorityFaults = /^(?:DEPTH_ZERO_)?SELF_SIGNED|^UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)/;

export function connectFailure(error: NodeJS.ErrnoException, configuration: Configuration): Ending {
  const { address } = configuration;
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
  const alert = alertFrom(code, error.message);
  if (alert !== undefined) return ending(Exit.Failed, explainAlert(alert, configuration));
  if (certificateFaults.test(code)) {
    // An expired certificate, or one for another name, is no better with another authority.
    const advice = authorityFaults.test(code) ? '--ca names an authority to trust; ' : '';
    const sentence = `the certificate of ${shown} is not trusted: ${error.message}; ${advice}--insecure takes it anyhow`;
    return ending(Exit.Failed, sentence);
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) {
    const why = opensslReason(error.message);
    // TLS 1.2 has no alert of its own for a missing certificate (RFC 5246 §7.4.6).
    const isRefusal = why.includes('handshake failure') && configuration.cert === '';
    const advice = isRefusal ? ', or the server wants a client certificate (--cert)' : '';
    return ending(Exit.Failed, `${shown} does not speak TLS as we do: ${why}; try ws://${advice}`);
  }
  return ending(Exit.Failed, `cannot connect to ${shown}: ${error.message || code}`, true);
}

/** Alerts of RFC 8446 §6.2, in OpenSSL's words, that say what the server thinks of our certificate. */
const certificateAlerts =
  /certificate required|bad certificate|unsupported certificate|certificate (?:revoked|expired|unknown)|unknown ca|access denied/;

/** The server's alert about our certificate, if that is what ended the handshake. */
function alertFrom(code: string, message: string): string | undefined {
  if (!/ALERT/.test(code)) return undefined;
  return certificateAlerts.exec(opensslReason(message))?.[0];
}

function explainAlert(alert: string, { address: { shown }, cert }: Configuration): string {
  if (cert === '') return `${shown} wants a client certificate (${alert}); give --cert and --key`;
  return `${shown} does not accept our certificate: ${alert}; give another with --cert`;
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
