/** The handler `script`: plays the script NAME against each client of `/script/NAME`. */

import { isDeepStrictEqual } from 'node:util';
import { closeConnection } from '../../core/close.ts';
import { CloseCode, ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import type { Handler, Server } from '../../records/records.ts';
import { readScript, readScripts, type Scripts } from './folder.ts';
import { beginScript, heldByScript, stopScript } from './play.ts';

/** The texts of scripts by name. */
export type GivenScripts = Readonly<Record<string, string>>;

/**
 * @param given scripts in addition to those of `--script`
 * @throws UsageError for a mistake in a script
 */
export function newScriptsHandler(server: Server, given: GivenScripts = {}): Handler {
  const { script: folder } = server.configuration;
  const own = Object.entries(given).map(([name, text]) => [name, readScript(name, text)] as const);
  if (folder === '') {
    const scripts = new Map(own);
    return newScriptHandler(() => scripts, own.length === 0);
  }
  const readAll = (): Scripts => new Map([...readScripts(folder), ...own]);
  let scripts = readAll();
  server.reloadables.push({
    async prepare() {
      const next = readAll();
      return () => {
        const change = changeOf(scripts, next);
        scripts = next;
        return change;
      };
    },
  });
  return newScriptHandler(() => scripts, false);
}

function changeOf(before: Scripts, after: Scripts): readonly string[] {
  const names = [...new Set([...before.keys(), ...after.keys()])];
  const isChanged = (name: string) => !isDeepStrictEqual(before.get(name), after.get(name));
  const changed = names.filter(isChanged);
  return changed.length === 0 ? [] : [`scripts: ${changed.join(', ')}`];
}

function newScriptHandler(scripts: () => Scripts, isOff: boolean): Handler {
  const find = ({ path }: Head) => scripts().get(/^\/script\/([^/]+)$/.exec(path)?.[1] ?? '');
  return {
    name: 'script',
    isOff: () => isOff,
    subprotocols(request) {
      const subprotocol = find(request)?.subprotocol;
      return subprotocol === undefined ? [] : [subprotocol.token];
    },
    admit(_, request) {
      if (isOff) throw new ProtocolError(404, 'this server plays no scripts; start it with --script DIR');
      if (find(request) !== undefined) return;
      const names = [...scripts().keys()].join(', ');
      throw new ProtocolError(404, 'no script of this name', {}, undefined, { scripts: names });
    },
    opened(connection, request) {
      const script = request === undefined ? undefined : find(request);
      // A reload may have removed the script while the server decided the client's rights.
      if (script === undefined)
        closeConnection(connection, CloseCode.TryAgainLater, 'no script of this name');
      else beginScript(connection, script, request!);
    },
    message() {},
    closed: stopScript,
    held: heldByScript,
  };
}
