import { readFileSync } from 'node:fs';

// Tests run from build/test/.
const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

/** The first block of code in this language in the README's section. @throws Error where there is none */
export function readmeBlock(section: string, language: string): string {
  const [, text = ''] = readme.split(`\n## ${section}\n`);
  const [, code] = new RegExp(`\n\`\`\`${language}\n(.*?)\n\`\`\`\n`, 's').exec(text) ?? [];
  if (code === undefined) throw new Error(`the README has no ${language} in "${section}"`);
  return code;
}
