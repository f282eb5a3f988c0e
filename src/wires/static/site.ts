/**
 * The files of a site (`--static DIR`): from the path of a URL to an open file, and no way out of the folder.
 *
 * - A path is decoded once, segment by segment. A segment that begins with a dot, or contains a slash, a backslash or a control
 *   character, names no file.
 * - Links are followed while they lead to files of the folder: the system says which file was really opened.
 */

import { closeSync, constants, fstatSync, openSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { quoted, UsageError } from '../../options/error.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { percentDecode } from '../../protocol/http/path.ts';

export interface Site {
  /** As configured. */
  readonly directory: string;
  /** Links may lead anywhere (`--static-follow`). */
  readonly followsLinks: boolean;
  /** Where the folder really is. Replaced when a link on its way has changed. */
  realDirectory: string;
}

export interface SiteFile {
  /** The caller closes it. */
  readonly descriptor: number;
  readonly size: number;
  /** Milliseconds, with a fraction. */
  readonly modified: number;
}

/** @throws UsageError if there is no such folder */
export function openSite(directory: string, followsLinks: boolean): Site {
  try {
    if (!statSync(directory).isDirectory())
      throw new UsageError(`--static ${quoted(directory)} is not a folder`);
    return { directory, followsLinks, realDirectory: realpathSync(directory) };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    throw new UsageError(`the folder of --static, ${quoted(directory)}, ${why}`);
  }
}

const noSuchFile = 'no such file';

/**
 * The path of a URL as names of folders and of a file; the last one is empty for a folder.
 * @throws ProtocolError 400 or 404
 */
export function readSitePath(path: string): readonly string[] {
  const names = path.slice(1).split('/').map(decodeSegment);
  names.forEach((name, at) => {
    const isLast = at === names.length - 1;
    if ((name === '' && !isLast) || isHidden(name, at) || /[/\\\p{Cc}]/u.test(name))
      throw new ProtocolError(404, noSuchFile);
  });
  return names;
}

function decodeSegment(segment: string): string {
  const name = percentDecode(segment);
  if (name === undefined) throw new ProtocolError(400, 'the path is not percent-encoded UTF-8');
  return name;
}

/** Dotfiles, and `.` and `..`. RFC 8615: `.well-known` is made for strangers. */
function isHidden(name: string, at: number): boolean {
  return name.startsWith('.') && !(name === '.well-known' && at === 0);
}

/** No controlling terminal, and no wait for the other end of a FIFO. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Opens a file of the site.
 * @param path relative to the folder
 * @returns undefined if there is no such file
 * @throws ProtocolError 403 or 500 if it cannot be read
 */
export function openSiteFile(site: Site, path: string): SiteFile | 'folder' | undefined {
  const whole = `${site.directory}/${path}`;
  try {
    // First without an exception, which takes much longer than this call.
    const seen = statSync(whole, { throwIfNoEntry: false });
    if (seen?.isDirectory()) return isOfSite(site, realpathSync(whole)) ? 'folder' : undefined;
    if (seen === undefined || !seen.isFile()) return undefined;
    return openChecked(site, whole);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      throw new ProtocolError(403, 'the server is not allowed to read this file');
    if (code === 'EMFILE' || code === 'ENFILE') throw new ProtocolError(503, 'too many files are open');
    if (isAbsence(code)) return undefined;
    throw new ProtocolError(500, `the file cannot be read (${code})`);
  }
}

function isAbsence(code: string | undefined): boolean {
  return (
    code !== undefined && ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'EINVAL'].includes(code)
  );
}

function openChecked(site: Site, whole: string): SiteFile | undefined {
  const descriptor = openSync(whole, openFlags);
  let isOurs = false;
  try {
    const stat = fstatSync(descriptor);
    isOurs = stat.isFile() && (site.followsLinks || isOfSite(site, realPathOf(descriptor, whole)));
    return isOurs ? { descriptor, size: stat.size, modified: stat.mtimeMs } : undefined;
  } finally {
    if (!isOurs) closeSync(descriptor);
  }
}

/** On Linux the path of the open file itself: a link that changes meanwhile has no effect. */
function realPathOf(descriptor: number, whole: string): string {
  if (process.platform === 'linux') {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      // There is no /proc.
    }
  }
  return realpathSync(whole);
}

/** Whether a real path is that of a file of the site, and not of a hidden one. */
function isOfSite(site: Site, real: string): boolean {
  if (site.followsLinks) return true;
  if (!isBelow(site.realDirectory, real)) {
    // A deployment may have replaced the link that the folder is.
    site.realDirectory = realpathSync(site.directory);
    if (!isBelow(site.realDirectory, real)) return false;
  }
  const names = real
    .slice(site.realDirectory.length)
    .split('/')
    .filter(name => name !== '');
  return !names.some(isHidden);
}

function isBelow(directory: string, real: string): boolean {
  return directory === '/' || real === directory || real.startsWith(`${directory}/`);
}
