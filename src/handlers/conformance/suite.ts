/** The state of a server that tests clients: the cases in order, and the results of each agent (a client under test). */

import type { ConformanceCase } from '../../conformance/case.ts';
import { coversCase } from '../../conformance/select.ts';
import { classicCases } from '../../conformance/table.ts';
import type { CaseVerdict, CloseVerdict } from '../../conformance/verdict.ts';
import { UsageError } from '../../options/error.ts';
import { ProtocolError } from '../../protocol/codes.ts';
import { maxAgentName, maxAgents } from '../../protocol/conformanceLimits.ts';
import { readQuery } from '../../protocol/http/path.ts';
import type { Connection } from '../../records/records.ts';

export interface Suite {
  /** Case 1 is the first. */
  readonly cases: readonly ConformanceCase[];
  /** The folder of the reports, absolute; empty: none are written. */
  readonly folder: string;
  readonly agents: Map<string, Agent>;
  /** Connections that wait for the status of a case, by `statusKey`. */
  readonly waiting: Map<string, Set<Connection>>;
}

/** A client under test. */
export interface Agent {
  readonly name: string;
  /** The beginning of the names of its report files. */
  readonly fileName: string;
  /** By the number of the case. A case that runs again replaces its result. */
  readonly results: Map<string, StoredResult>;
}

/** The result of a finished case, as the server keeps it. Its report has the rest. */
export interface StoredResult {
  readonly behavior: CaseVerdict;
  readonly behaviorClose: CloseVerdict;
  readonly remoteCloseCode: number | null;
  /** Milliseconds. */
  readonly duration: number;
  readonly expected: string;
  readonly seen: string;
  readonly reportFile: string;
}

/** @throws UsageError if the exclusions name no case, or leave none */
export function newSuite(excluded: readonly string[], folder: string): Suite {
  const left = new Set(classicCases);
  for (const pattern of excluded) {
    const matching = classicCases.filter(test => coversCase(pattern, test));
    if (matching.length === 0) {
      throw new UsageError(
        `--conformance-exclude: no case has the number or name ${pattern}; see pollywog help conformance`,
      );
    }
    for (const one of matching) left.delete(one);
  }
  if (left.size === 0) throw new UsageError('--conformance-exclude leaves no case to run; exclude fewer');
  return { cases: [...left], folder, agents: new Map(), waiting: new Map() };
}

/** The case's number in the classic suite; every case of `classicCases` has one. */
export const numberOf = ({ number }: ConformanceCase): string => number!;

/** The parameters of a client's request. */
export interface SuiteRequest {
  readonly agent: string | undefined;
  /** The case, and its place in the suite, from 1. */
  readonly test: ConformanceCase | undefined;
  readonly index: number;
}

/** Reads the query, such as `case=1&agent=ws`. @throws ProtocolError 400 */
export function readSuiteRequest(suite: Suite, query: string): SuiteRequest {
  const parameters = readQuery(query);
  const agent = one(parameters, 'agent');
  if (agent !== undefined && agent.length > maxAgentName)
    throw new ProtocolError(400, `the name of an agent has at most ${maxAgentName} characters`);
  const index = caseIndex(suite, one(parameters, 'case'), one(parameters, 'casetuple'));
  return { agent, test: suite.cases[index - 1], index };
}

function one(parameters: URLSearchParams, name: string): string | undefined {
  const values = parameters.getAll(name);
  if (values.length > 1) throw new ProtocolError(400, `the parameter ${name} is given twice`);
  return values[0] === '' ? undefined : values[0];
}

/** @returns the place of the case, from 1; 0 if the query has none */
function caseIndex({ cases }: Suite, place: string | undefined, number: string | undefined): number {
  if (place === undefined && number === undefined) return 0;
  const index =
    place === undefined
      ? 1 + cases.findIndex(test => numberOf(test) === number!.trim())
      : /^\d{1,6}$/.test(place)
        ? Number(place)
        : 0;
  if (index >= 1 && index <= cases.length) return index;
  throw new ProtocolError(400, `unknown case; the cases are 1 to ${cases.length}`);
}

/** Finds or creates the agent of this name. @throws ProtocolError 503 at `maxAgents` */
export function agentOf({ agents }: Suite, name: string): Agent {
  let agent = agents.get(name);
  if (agent !== undefined) return agent;
  if (agents.size >= maxAgents)
    throw new ProtocolError(503, `the server tests at most ${maxAgents} agents; restart it to test others`);
  agent = { name, fileName: newFileName(agents, name), results: new Map() };
  agents.set(name, agent);
  return agent;
}

/** As the classic suite writes it: lower-case letters and digits, and `_` for anything else; a number makes it unique. */
function newFileName(agents: ReadonlyMap<string, Agent>, name: string): string {
  const cleaned = name
    .trim()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, ' ')
    .trim()
    .replaceAll(' ', '_')
    .slice(0, 100);
  const base = cleaned === '' ? 'agent' : cleaned;
  const taken = new Set([...agents.values()].map(({ fileName }) => fileName));
  for (let number = 1; ; number++) {
    const candidate = number === 1 ? base : `${base}__${number}`;
    if (!taken.has(candidate)) return candidate;
  }
}

export const statusKey = (test: ConformanceCase, agent: string) => `${numberOf(test)} ${agent}`;
