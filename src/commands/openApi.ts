/** The commands as OpenAPI has them, so that clients and pages can be made of it. */
import type { Command } from './command.ts';
import { commands } from './commands.ts';

const answer = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema }, 'text/plain': { schema: { type: 'string' } } },
});

const refused = answer('a sentence that says why', {
  type: 'object',
  properties: { error: { type: 'string' } },
});

/** The description of all commands, OpenAPI 3.1. */
export function openApi(version: string): object {
  const paths = [...commands.values()].map(command => [`/api/${command.name}`, { post: operation(command) }]);
  return {
    openapi: '3.1.0',
    info: { title: 'Pollywog', version, description: 'The commands of a running server.' },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    paths: Object.fromEntries(paths),
  };
}

function operation({ name, help, parameters, columns }: Command): object {
  const entries = Object.entries(parameters);
  const properties = Object.fromEntries(
    entries.map(([parameter, { kind, rest }]) => [
      parameter,
      { description: kind.wants, ...(rest === 'list' ? { type: 'array', items: { type: 'string' } } : {}) },
    ]),
  );
  const takesBytes = entries.some(([, { orBytes }]) => orBytes);
  const schema = {
    type: 'object',
    properties: takesBytes ? { ...properties, binary: { type: 'string', format: 'byte' } } : properties,
    required: entries.filter(([, one]) => !one.optional && !one.orBytes).map(([parameter]) => parameter),
    additionalProperties: false,
  };
  const result = columns === undefined ? {} : { type: 'array', items: { type: 'object' } };
  return {
    operationId: name,
    summary: help,
    requestBody: {
      required: schema.required.length > 0 || takesBytes,
      content: {
        'application/json': { schema },
        'application/x-www-form-urlencoded': { schema },
      },
    },
    responses: { 200: answer('done', result), default: refused },
  };
}
