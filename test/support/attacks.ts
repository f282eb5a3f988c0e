/**
 * Attacks on tokens, links and rights: requests of anonymous clients and of the user 18 for the channels of the user 17. A
 * server with the settings below refuses each of them.
 */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { clockLeeway } from '../../src/protocol/accessLimits.ts';
import {
  base64url,
  type Json,
  linkOf,
  linkSignature,
  pemOf,
  sitePairs,
  siteSecret,
  tokenOf,
} from './tokens.ts';

/** The server under attack: its table of rights, and its other options. Its keys are all that the site has. */
export const attacked = {
  rules: [
    '/channels/user-{user}: subscribe=user publish=nobody',
    '/channels/orders-*: subscribe=token publish=token',
    '/echo/**: connect=nobody',
    '/quiz: connect=token',
    '/channels/**: connect=anyone subscribe=nobody',
    '/**: connect=user',
  ],
  tokenCookie: 'session',
  issuer: 'https://site.example',
  audience: 'pollywog',
} as const;

export interface Attack {
  /** Completes the sentence "… is refused". */
  readonly name: string;
  /** Path and query of the request. */
  readonly url: string;
  /** Lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Matches the reason in the log: why the credential is not valid, or the line of the table. */
  readonly reason: RegExp;
}

const target = '/channels/user-17';
const orders = '/channels/orders-1';

/** The claims of a valid token of the user 17. @param now milliseconds since 1970 */
export function victimClaims(now: number, more: Json = {}): Json {
  return { sub: '17', exp: now / 1000 + 600, iss: attacked.issuer, aud: attacked.audience, ...more };
}

/**
 * @param now milliseconds since 1970
 * @param margin seconds by which times are beyond the leeway: more than pass until the request is judged
 */
export function attacks(now: number, margin: number): readonly Attack[] {
  const seconds = Math.floor(now / 1000);
  const beyond = clockLeeway / 1000 + margin;
  const later = seconds + 600;
  const claims = (more: Json = {}) => victimClaims(now, more);
  const attack = (name: string, url: string, reason: RegExp, headers: Attack['headers'] = {}): Attack => ({
    ...{ name, url, reason, headers },
  });
  const withToken = (name: string, token: string, reason: RegExp) =>
    attack(name, `${target}?token=${encodeURIComponent(token)}`, reason);
  /** Signed by the site itself, whose library may sign invalid claims. */
  const signed = (name: string, more: Json, reason: RegExp) =>
    withToken(`a token ${name}`, tokenOf(claims(more)), reason);
  const stranger = (name: string, header: Json, key: string | Buffer) => {
    const data = `${base64url(header)}.${base64url(claims())}`;
    const mac = createHmac('sha256', key).update(data).digest('base64url');
    return [name, `${data}.${mac}`] as const;
  };
  const valid = tokenOf(claims());
  const [head = '', body = '', tail = ''] = valid.split('.');
  const other = tokenOf(claims({ sub: '18' }));
  const rsa = sitePairs.RS256.publicKey;
  const own = generateKeyPairSync('ed25519');
  const ownHeader = {
    alg: 'EdDSA',
    jwk: own.publicKey.export({ format: 'jwk' }),
    jku: 'http://127.0.0.1/jwks',
  };
  const ownData = `${base64url(ownHeader)}.${base64url(claims())}`;
  const es = tokenOf(claims(), {}, 'ES256');
  const esData = es.slice(0, es.lastIndexOf('.'));
  const derSignature = sign('sha256', Buffer.from(esData), sitePairs.ES256.privateKey).toString('base64url');
  const unsigned = (header: Json) => `${base64url(header)}.${base64url(claims())}.`;

  const identify = /^identify \/channels\/user-\{user\}: /;
  const forbid = /^forbid \/channels\/user-\{user\}: /;
  const notJwt = /^the token is not a JWT$/;
  const notOne = /^the field Authorization is not "Bearer" and one token$/;
  const noKey = /^no key of this server is for the algorithm \("alg"\) of the token$/;
  const wrong = /^the signature of the token is wrong$/;

  return [
    attack('a stranger without anything', target, identify),

    // Algorithms and keys
    withToken('the algorithm "none" without a signature', unsigned({ alg: 'none' }), notJwtOr(noKey)),
    withToken('the algorithm "None"', unsigned({ alg: 'None' }), notJwtOr(noKey)),
    withToken('the algorithm "none" with a signature', tokenOf(claims(), { alg: 'none' }), noKey),
    withToken('a header without an algorithm', tokenOf(claims(), '{}'), noKey),
    withToken('a list of algorithms', tokenOf(claims(), { alg: ['HS256'] }), noKey),
    withToken('the algorithm "hs256" in lower case', tokenOf(claims(), { alg: 'hs256' }), noKey),
    withToken('the algorithm HS512', tokenOf(claims(), { alg: 'HS512' }), noKey),
    withToken('the algorithm PS256', tokenOf(claims(), { alg: 'PS256' }, 'RS256'), noKey),
    withToken(...stranger('the public key in PEM as a secret', { alg: 'HS256' }, pemOf(rsa)), wrong),
    withToken(...stranger('the same without its newline', { alg: 'HS256' }, pemOf(rsa).trim()), wrong),
    withToken(
      ...stranger(
        'the public key in DER as a secret',
        { alg: 'HS256' },
        rsa.export({ type: 'spki', format: 'der' }),
      ),
      wrong,
    ),
    withToken(...stranger('an empty secret', { alg: 'HS256' }, ''), wrong),
    withToken(...stranger('a file of zeros as the key', { alg: 'HS256', kid: '../../dev/null' }, ''), wrong),
    withToken(...stranger('the name of an algorithm of another key', { alg: 'RS256' }, siteSecret), wrong),
    withToken('a signature of ECDSA for RS256', tokenOf(claims(), { alg: 'RS256' }, 'ES256'), wrong),
    withToken('a signature of RSA for ES256', tokenOf(claims(), { alg: 'ES256' }, 'RS256'), wrong),
    withToken(
      'a key in the header',
      `${ownData}.${sign(null, Buffer.from(ownData), own.privateKey).toString('base64url')}`,
      wrong,
    ),
    withToken(
      'a name of a key that is a number',
      tokenOf(claims(), { kid: 1 }),
      /"kid" of the token is not a text/,
    ),
    withToken(
      'an extension that must be understood',
      tokenOf(claims(), { crit: ['exp'] }),
      /extensions \("crit"\)/,
    ),
    withToken('a payload that is not encoded', tokenOf(claims(), { b64: false, crit: ['b64'] }), /"crit"/),
    withToken(
      'a token of a log-out',
      tokenOf(claims(), { typ: 'logout+jwt' }),
      /of a type \("typ"\) for another use/,
    ),
    withToken(
      'a type that is a number',
      tokenOf(claims(), { typ: 7 }),
      /of a type \("typ"\) for another use/,
    ),

    // Signatures
    withToken('a token without its signature', `${head}.${body}`, notJwt),
    withToken('a token with an empty signature', `${head}.${body}.`, wrong),
    withToken('a signature that is cut off', `${head}.${body}.${tail.slice(0, 40)}`, notJwtOr(wrong)),
    withToken('a signature that goes on', `${head}.${body}.${tail}AAAA`, notJwtOr(wrong)),
    withToken('a signature with padding', `${valid}=`, notJwt),
    withToken('a signature with stray bits', `${head}.${body}.${strayBits(tail)}`, notJwt),
    withToken('a signature with a newline', `${valid}\n`, notJwt),
    withToken('the signature of another token', `${head}.${body}.${other.split('.')[2]}`, wrong),
    withToken('the claims of another user', `${head}.${base64url(claims({ sub: '018' }))}.${tail}`, wrong),
    withToken(
      'another header',
      `${base64url({ alg: 'HS256', typ: 'JWT', kid: 'a' })}.${body}.${tail}`,
      wrong,
    ),
    withToken('a signature of ECDSA that is all zeros', `${esData}.${base64url('\0'.repeat(64))}`, wrong),
    withToken('a signature of ECDSA in DER', `${esData}.${derSignature}`, wrong),
    withToken(
      'a signature of EdDSA that is all zeros',
      `${base64url({ alg: 'EdDSA' })}.${body}.${base64url('\0'.repeat(64))}`,
      wrong,
    ),

    // Form
    withToken('an empty token', '', notJwt),
    withToken('a word', 'let-me-in', notJwt),
    withToken('four parts', `${valid}.${tail}`, notJwt),
    withToken('five parts', `${head}.a.b.c.d`, /the token is encrypted/),
    withToken('a token of 9,000 characters', tokenOf(claims({ pad: 'x'.repeat(7000) })), /longer than 8192/),
    withToken('claims that are a list', tokenOf('[]'), notJwt),
    withToken('claims that are not JSON', tokenOf('sub=17'), notJwt),
    withToken('claims that are not UTF-8', tokenOf(Buffer.from([0x7b, 0xff, 0x7d])), notJwt),
    withToken('claims nested deeply', tokenOf(`{"sub":${'['.repeat(3000)}`), notJwt),
    withToken('two users', tokenOf(`{"sub":"18","exp":${later},"sub":"17"}`), notJwt),
    withToken('two algorithms', tokenOf(claims(), '{"alg":"none","alg":"HS256"}'), notJwt),

    // Times
    signed('that never expires', { exp: undefined }, /no "exp"/),
    signed('that expired before the leeway', { exp: seconds - beyond }, /^the token has expired$/),
    signed('that expires at a text', { exp: String(later) }, /"exp" of the token is not a number/),
    signed('that expires at null', { exp: null }, /"exp" of the token is not a number/),
    signed('that expires at a list', { exp: [later] }, /"exp" of the token is not a number/),
    signed('that expires before time began', { exp: -1 }, /"exp" of the token is not a number/),
    signed('that expires in milliseconds', { exp: now + 600_000 }, /"exp" of the token is too far ahead/),
    withToken(
      'a token that expires at infinity',
      tokenOf(`{"sub":"17","exp":1e999}`),
      /"exp" of the token is not a number/,
    ),
    signed('that is not valid yet', { nbf: seconds + beyond }, /not valid yet/),
    signed('that is valid from a text on', { nbf: '0' }, /"nbf" of the token is not a number/),
    signed('from the future', { iat: seconds + beyond }, /made in the future/),
    signed('that was made at true', { iat: true }, /"iat" of the token is not a number/),

    // Parties
    signed('of another issuer', { iss: 'https://site.example.evil' }, /another issuer/),
    signed('without an issuer', { iss: undefined }, /another issuer/),
    signed('of a list of issuers', { iss: [attacked.issuer] }, /another issuer/),
    signed('for another audience', { aud: 'mail' }, /another audience/),
    signed('for several other audiences', { aud: ['mail', 'Pollywog'] }, /another audience/),
    signed('without an audience', { aud: undefined }, /another audience/),
    signed('for an audience that is an object', { aud: { pollywog: true } }, /another audience/),

    // Users
    signed('without a user', { sub: undefined }, /no "sub"/),
    signed('of nobody', { sub: '' }, /a user has 1 to 200 characters/),
    signed('of a user with 201 characters', { sub: '1'.repeat(201) }, /a user has 1 to 200 characters/),
    signed('of a list of users', { sub: ['17'] }, /"sub" of the token is not a text/),
    signed('of an object', { sub: { toString: '17' } }, /"sub" of the token is not a text/),
    signed('of half a user', { sub: 17.5 }, /"sub" of the token is not a text/),
    signed('of a user below zero', { sub: -17 }, /"sub" of the token is not a text/),
    signed('of a user and a newline', { sub: '17\n' }, /must not contain control characters/),
    signed('of a user and a NUL', { sub: '17\0' }, /must not contain control characters/),
    signed('of half a character', { sub: '17\ud800' }, /must be valid Unicode/),
    ...[
      '18',
      '17 ',
      ' 17',
      '017',
      '１７',
      '17%00',
      '%31%37',
      '*',
      '**',
      '{user}',
      '17/../17',
      '../user-17',
      'user-17',
      '.',
    ].map(user => signed(`of the user ${JSON.stringify(user)}`, { sub: user }, forbid)),
    attack(
      'a user whose name has a slash, in the channel of that name',
      `/channels/user-1/7?token=${tokenOf(claims({ sub: '1/7' }))}`,
      /^forbid \/channels\/\*\*: /,
    ),
    attack(
      'a user whose name differs in case',
      `/channels/user-Ada?token=${tokenOf(claims({ sub: 'ada' }))}`,
      forbid,
    ),
    attack('the channel of the empty name', `/channels/user-?token=${valid}`, forbid),

    // Lists of channels
    ...(
      [
        [
          'a list of channels that is a text',
          { channels: 'orders-1' },
          /"channels" of the token is not a list of texts/,
        ],
        [
          'a list with a number',
          { channels: ['orders-1', 1] },
          /"channels" of the token is not a list of texts/,
        ],
        [
          'a list with three stars',
          { channels: ['***'] },
          /in the "channels" of the token: a pattern has \*/,
        ],
        ['a list with a regular expression', { channels: ['orders-.*'] }, /^forbid \/channels\/orders-\*: /],
        ['a list for publishing', { publish: ['orders-*'] }, /^forbid \/channels\/orders-\*: /],
        ['a list under another name', { Channels: ['orders-*'] }, /^forbid \/channels\/orders-\*: /],
        ['a list of other channels', { channels: ['orders-10', 'Orders-1', 'orders-'] }, /^forbid /],
        ['a list with a path', { channels: ['/channels/orders-1'] }, /^forbid /],
        ['a user as a placeholder', { channels: ['orders-{user}'] }, /^forbid /],
      ] as const
    ).map(([name, more, reason]) => attack(name, `${orders}?token=${tokenOf(claims(more))}`, reason)),
    attack(
      'a star for a channel in a folder',
      `/channels/orders-1/secret?token=${tokenOf(claims({ channels: ['orders-*'] }))}`,
      /^forbid \/channels\/\*\*: /,
    ),

    // Links
    attack('a link that is not signed', `${target}?user=17&until=${later}`, identify),
    attack('a link of the user 18', linkOf(target, '18', later), forbid),
    attack(
      'a link to another channel',
      forged(linkOf('/channels/user-18', '17', later), { path: target }),
      /signature of the link/,
    ),
    attack(
      'a link for another user',
      forged(linkOf(target, '18', later), { user: '17' }),
      /signature of the link/,
    ),
    attack(
      'a link with another time',
      forged(linkOf(target, '17', later), { until: later + 1 }),
      /signature of the link/,
    ),
    attack(
      'a link with a leading zero',
      forged(linkOf(target, '17', later), { until: `0${later}` }),
      /"until" of the link is not/,
    ),
    attack('a link that has expired', linkOf(target, '17', seconds - 1), /^the link has expired$/),
    attack(
      'a link in milliseconds',
      linkOf(target, '17', now + 600_000),
      /"until" of the link is too far ahead/,
    ),
    ...['', '1e12', '0x7fffffff', `+${later}`, ` ${later}`, '9'.repeat(30), '-1', 'Infinity'].map(until =>
      attack(
        `a link until ${JSON.stringify(until)}`,
        linkOf(target, '17', until),
        /"until" of the link is not a number/,
      ),
    ),
    attack('a link of nobody', linkOf(target, '', later), /a user has 1 to 200 characters/),
    attack(
      'a link whose user has a newline',
      linkOf(target, `17\n${later}`, later),
      /must not contain control/,
    ),
    attack(
      'a link whose path and user are divided elsewhere',
      `/channels/user-1%0A7?user=x&until=${later}&sign=${linkSignature('/channels/user-1', '7\nx', later)}`,
      /the path of the link is not valid/,
    ),
    attack(
      'a link without a signature',
      `${target}?user=17&until=${later}&sign=`,
      /not 64 hexadecimal digits/,
    ),
    attack(
      'a link with half a signature',
      linkOf(target, '17', later).slice(0, -32),
      /not 64 hexadecimal digits/,
    ),
    attack(
      'a link with a list of signatures',
      linkOf(target, '17', later).replace('sign=', 'sign[]='),
      identify,
    ),
    attack(
      'a link signed by a stranger',
      `${target}?user=17&until=${later}&sign=${linkSignature(target, '17', later, 'x')}`,
      /signature of the link/,
    ),
    attack(
      'a link signed with the public key',
      `${target}?user=17&until=${later}&sign=${linkSignature(target, '17', later, pemOf(rsa))}`,
      /signature of the link/,
    ),
    attack(
      'a link with the signature of a token',
      `${target}?user=17&until=${later}&sign=${Buffer.from(tail, 'base64url').toString('hex')}`,
      /signature of the link/,
    ),
    ...['user=17', `until=${later}`, `sign=${'0'.repeat(64)}`].map(pair =>
      attack(
        `a link with a second ${pair.split('=')[0]}`,
        `${linkOf(target, '18', later)}&${pair}`,
        /each once/,
      ),
    ),
    attack(
      'a link and a token',
      `${linkOf(target, '18', later)}&token=${valid}`,
      /a token and a signed link; keep one/,
    ),
    attack(
      'a link to the channel in capitals',
      linkOf(target, '17', later).replace('user-17?', 'USER-17?'),
      /signature of the link/,
    ),

    // Where the token is
    attack('two tokens in the URL', `${target}?token=${other}&token=${valid}`, /more than one token/),
    attack(
      'a second token with an encoded name',
      `${target}?token=${other}&%74oken=${valid}`,
      /more than one token/,
    ),
    attack('a token in the URL and another in a field', `${target}?token=${valid}`, /different tokens/, {
      authorization: `Bearer ${other}`,
    }),
    attack('a parameter in capitals', `${target}?TOKEN=${valid}`, identify),
    attack('a token with another scheme', target, identify, { authorization: `Basic ${valid}` }),
    attack('two tokens in the field Authorization', target, notOne, {
      authorization: `Bearer ${other}, Bearer ${valid}`,
    }),
    attack('two tokens in the field Authorization beside a right cookie', target, notOne, {
      ...{ authorization: `Bearer ${other}, Bearer ${valid}`, cookie: `session=${valid}` },
    }),
    attack(
      'a field Authorization without its token, and a token in the URL',
      `${target}?token=${valid}`,
      notOne,
      {
        authorization: 'Bearer',
      },
    ),
    attack('a token in quotes', target, notOne, { authorization: `Bearer "${valid}"` }),
    attack('two cookies of the same name', target, /two different cookies "session"/, {
      cookie: `session=${other}; session=${valid}`,
    }),
    attack('a cookie whose name is in capitals', target, identify, { cookie: `Session=${valid}` }),
    attack('a cookie whose name ends in ours', target, identify, { cookie: `xsession=${valid}` }),
    attack('a cookie in the value of another', target, identify, { cookie: `a=b, session=${valid}` }),
    attack('a cookie of another user', target, forbid, { cookie: `session=${other}` }),
    attack('a wrong token beside a right cookie', `${target}?token=x`, notJwt, {
      cookie: `session=${valid}`,
    }),

    // Paths
    ...['/channels/user%2D17', '/%63hannels/user-17', '/channels/%75ser-%31%37'].map(path =>
      attack(`a path such as ${path}`, path, identify),
    ),
    ...[
      '/channels/user-17/',
      '/channels//user-17',
      '/channels/./user-17',
      '/channels/x/../user-17',
      '/channels/user%252D17',
      '/channels/User-17',
      '/channels/user-17%2F..',
    ].map(path => attack(`a path such as ${path}`, path, /^forbid \/channels\/\*\*: /)),
    attack('a path with a NUL after the user', '/channels/user-17%00', identify),
  ];
}

/** Base64url of the same bytes, with another last character: its lowest bits encode nothing. */
function strayBits(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1)!) ^ 1];
}

/** A token without a signature is refused for its form or for its algorithm. */
function notJwtOr(reason: RegExp): RegExp {
  return new RegExp(`^the token is not a JWT$|${reason.source}`);
}

function forged(
  link: string,
  { path, user, until }: { path?: string; user?: string; until?: number | string },
): string {
  const url = new URL(link, 'http://x');
  if (user !== undefined) url.searchParams.set('user', user);
  if (until !== undefined) url.searchParams.set('until', String(until));
  return `${path ?? url.pathname}${url.search}`;
}
