/**
 * Opens the files of a site (`--static DIR`) by the paths of URLs. No path leads out of the folder:
 *
 * - A path is decoded once, segment by segment. A segment that begins with a dot, or contains a slash, a backslash or a control
 *   character, names no file.
 * - A file is served if its real path is in the folder. The system reports that path after it has opened the file.
 */

import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { quoted, UsageError } from '../../options/error.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { percentDecode } from '../../protocol/http/path.ts';
import { fileCost } from '../../protocol/limits.ts';
import { workUnits } from '../../protocol/workUnits.ts';

export interface Site {
  /** As configured. */
  readonly directory: string;
  /** Links may lead anywhere (`--static-follow`). */
  readonly followsLinks: boolean;
  /** The folder's real path. It changes when a deployment replaces a link. */
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
    // Otherwise each file would be refused with 403.
    accessSync(directory, constants.X_OK);
    return { directory, followsLinks, realDirectory: realpathSync(directory) };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EACCES'
          ? 'is closed to this user'
          : `cannot be read (${code})`;
    throw new UsageError(`the folder of --static, ${quoted(directory)}, ${why}`);
  }
}

/** The page of a folder. */
export const folderPage = 'index.html';

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

/** Hides dotfiles, `.` and `..`, but not `/.well-known`, which RFC 8615 makes public. */
function isHidden(name: string, at: number): boolean {
  return name.startsWith('.') && !(name === '.well-known' && at === 0);
}

/** If a file becomes a terminal or a FIFO meanwhile, opening it has no effect and does not block. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Errors that mean that the path leads to no file. */
const absences: readonly unknown[] = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'EINVAL'];

/**
 * Opens a file of the site.
 * @param path relative to the folder
 * @returns undefined if there is no such file
 * @throws ProtocolError 403 or 500 if it cannot be read
 */
export function openSiteFile(site: Site, path: string): SiteFile | 'folder' | undefined {
  const fullPath = `${site.directory}/${path}`;
  try {
    // Requests for missing files are common, and an exception costs much more than this call.
    const stat = statSync(fullPath, { throwIfNoEntry: false });
    if (stat?.isDirectory()) return isOfSite(site, realpathSync(fullPath)) ? 'folder' : undefined;
    if (stat === undefined || !stat.isFile()) return undefined;
    return openChecked(site, fullPath);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      throw new ProtocolError(403, 'the server is not allowed to read this file');
    if (code === 'EMFILE' || code === 'ENFILE') throw new ProtocolError(503, 'too many files are open');
    if (absences.includes(code)) return undefined;
    throw new ProtocolError(500, `the file cannot be read (${code})`);
  }
}

function openChecked(site: Site, fullPath: string): SiteFile | undefined {
  workUnits.spent += fileCost;
  const descriptor = openSync(fullPath, openFlags);
  let isServed = false;
  try {
    const stat = fstatSync(descriptor);
    isServed = stat.isFile() && (site.followsLinks || isOfSite(site, realPathOf(descriptor, fullPath)));
    return isServed ? { descriptor, size: stat.size, modified: stat.mtimeMs } : undefined;
  } finally {
    if (!isServed) closeSync(descriptor);
  }
}

/** On Linux, the path of the open file: it is right even if a link has changed meanwhile. */
function realPathOf(descriptor: number, fullPath: string): string {
  if (process.platform === 'linux') {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      // /proc is not mounted.
    }
  }
  return realpathSync(fullPath);
}

/** Whether a real path belongs to the site, and not to a hidden file or folder. */
function isOfSite(site: Site, real: string): boolean {
  if (site.followsLinks) return true;
  if (!isBelow(site.realDirectory, real)) {
    // A deployment may have replaced the folder, if it is a link.
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
