/**
 * The data of the compression cases: five kinds, from text that compresses well to noise. The code generates the same bytes each
 * time, so the package needs no large files.
 */

/** One kind of data. Each message is a piece of it; the next message continues after that piece, and wraps around at the end. */
export interface PayloadKind {
  readonly name: 'json' | 'image' | 'prose' | 'html' | 'document';
  readonly title: string;
  readonly isText: boolean;
  /** Bytes. */
  readonly size: number;
}

/** In the order of the classic suite's groups 12.1 to 12.5. */
export const payloadKinds: readonly PayloadKind[] = [
  { name: 'json', title: 'Large JSON data', isText: true, size: 194_056 },
  { name: 'image', title: 'Picture, bitmap 512x512, black and white', isText: false, size: 263_222 },
  { name: 'prose', title: 'Human readable text (German)', isText: false, size: 222_218 },
  { name: 'html', title: 'Large HTML page', isText: true, size: 263_527 },
  {
    name: 'document',
    title: 'Large document, mostly compressed already',
    isText: false,
    size: 1_042_328,
  },
];

const made = new Map<PayloadKind, Buffer>();

/** The data of a kind, read-only. It is generated once, in a few milliseconds. */
export function payloadOf(kind: PayloadKind): Buffer {
  let data = made.get(kind);
  if (data === undefined) {
    data = makers[kind.name](kind.size);
    made.set(kind, data);
  }
  return data;
}

/** The piece of `length` bytes that begins at `from`. It wraps around at the end of the data. */
export function pieceOf(kind: PayloadKind, from: number, length: number): Buffer {
  const data = payloadOf(kind);
  const start = from % data.length;
  const end = start + length;
  if (end <= data.length) return data.subarray(start, end);
  return Buffer.concat([data.subarray(start), data.subarray(0, end - data.length)]);
}

const makers: Readonly<Record<PayloadKind['name'], (size: number) => Buffer>> = {
  json: size => repeatedText(size, jsonRecord),
  html: size => repeatedText(size, htmlRow),
  prose: size => repeatedText(size, sentence),
  image,
  document,
};

/** Numbers from 0 to `below - 1`. */
type Draw = (below: number) => number;

/** xorshift32: the same numbers each time. */
function newDraw(seed: number): Draw {
  let state = seed;
  return below => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Text of exactly `size` bytes, all ASCII: each piece of it is valid UTF-8. */
function repeatedText(size: number, part: (draw: Draw, index: number) => string): Buffer {
  const draw = newDraw(size);
  const parts: string[] = [];
  for (let length = 0; length < size; length += parts.at(-1)!.length) parts.push(part(draw, parts.length));
  return Buffer.from(parts.join('').slice(0, size), 'latin1');
}

const words =
  'der die das und nicht mit ein ich du er sie wir ist hat war wird auf von zu im am als auch es an so wie noch nach nur aus bei Teich Frosch Wasser Sommer Abend Himmel Stimme Wind Garten Haus Licht Nacht Tag Weg Baum Vogel Regen Stein Ufer Schilf langsam leise dunkel gross klein alt neu still weit schwimmt springt ruft kommt geht sieht fragt schweigt beginnt endet'.split(
    ' ',
  );

const word = (draw: Draw) => words[draw(words.length)]!;

function sentence(draw: Draw): string {
  const text = Array.from({ length: 4 + draw(12) }, () => word(draw)).join(' ');
  return `${text[0]!.toUpperCase()}${text.slice(1)}${draw(5) === 0 ? '.\r\n\r\n' : '. '}`;
}

function jsonRecord(draw: Draw, index: number): string {
  const record = {
    id: index,
    key: draw(0x7fff_ffff).toString(16),
    name: `${word(draw)} ${word(draw)}`,
    isActive: draw(2) === 0,
    balance: draw(1_000_000) / 100,
    position: [draw(18_000) / 100 - 90, draw(36_000) / 100 - 180],
    tags: Array.from({ length: draw(6) }, () => word(draw)),
    about: sentence(draw).trim(),
  };
  return `${index === 0 ? '[' : ', '}${JSON.stringify(record)}\n`;
}

function htmlRow(draw: Draw, index: number): string {
  const cells = Array.from({ length: 3 + draw(3) }, () => `<td class="c${draw(4)}">${word(draw)}</td>`);
  const link = `<a href="/pond/${word(draw)}/${draw(10_000)}.html">${word(draw)}</a>`;
  return `<tr id="row${index}">${cells.join('')}<td>${link}</td></tr>\n<p>${sentence(draw).trim()}</p>\n`;
}

/** A header of zeroes, then soft gradients with noise, row by row. */
function image(size: number): Buffer {
  const draw = newDraw(size);
  const bytes = Buffer.alloc(size);
  const header = size - 512 * 512;
  for (let i = header; i < size; i++) {
    const x = (i - header) % 512;
    const y = (i - header) >> 9;
    bytes[i] = 128 + 60 * Math.sin(x / 40) + 50 * Math.cos(y / 55) + draw(12);
  }
  return bytes;
}

/** Blocks of random bytes, each after a short text. */
function document(size: number): Buffer {
  const draw = newDraw(size);
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    at += bytes.write(`\n${at} 0 obj << /Length 8192 /Filter /FlateDecode >> stream\n`, at, 'latin1');
    for (const end = Math.min(size, at + 8192); at < end; at++) bytes[at] = draw(256);
  }
  return bytes;
}
