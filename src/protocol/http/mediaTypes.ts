/** Media types of files by the extensions of their names. */

const text = (subtype: string) => `text/${subtype}; charset=utf-8`;

const types: Readonly<Record<string, string>> = {
  html: text('html'),
  htm: text('html'),
  css: text('css'),
  js: text('javascript'),
  mjs: text('javascript'),
  txt: text('plain'),
  md: text('markdown'),
  csv: text('csv'),
  vtt: text('vtt'),
  ics: text('calendar'),
  xml: text('xml'),
  json: 'application/json',
  map: 'application/json',
  webmanifest: 'application/manifest+json',
  jsonld: 'application/ld+json',
  geojson: 'application/geo+json',
  xhtml: 'application/xhtml+xml',
  atom: 'application/atom+xml',
  rss: 'application/rss+xml',
  wasm: 'application/wasm',
  pdf: 'application/pdf',
  zip: 'application/zip',
  gz: 'application/gzip',
  tar: 'application/x-tar',
  svg: 'image/svg+xml',
  png: 'image/png',
  apng: 'image/apng',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  avif: 'image/avif',
  bmp: 'image/bmp',
  ico: 'image/vnd.microsoft.icon',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  mp3: 'audio/mpeg',
  m4a: 'audio/mp4',
  oga: 'audio/ogg',
  ogg: 'audio/ogg',
  opus: 'audio/ogg',
  wav: 'audio/wav',
  flac: 'audio/flac',
  mp4: 'video/mp4',
  m4v: 'video/mp4',
  webm: 'video/webm',
  ogv: 'video/ogg',
  mov: 'video/quicktime',
  woff: 'font/woff',
  woff2: 'font/woff2',
  ttf: 'font/ttf',
  otf: 'font/otf',
};

/** The extension in lower case, without its dot; empty if the name has none. */
function extensionOf(name: string): string {
  const dot = name.lastIndexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1).toLowerCase();
}

/** @returns undefined if the extension is unknown */
export function mediaTypeOf(name: string): string | undefined {
  const extension = extensionOf(name);
  return Object.hasOwn(types, extension) ? types[extension] : undefined;
}

/** The type of files with an unknown extension: browsers download them. */
export const unknownType = 'application/octet-stream';

/** Whether compression makes files of this type smaller. */
export function isCompressible(type: string): boolean {
  return /^text\/|[/+](?:json|xml)$|\/wasm$|\/(?:ttf|otf|bmp|vnd\.microsoft\.icon)$/.test(
    type.split(';', 1)[0]!,
  );
}
