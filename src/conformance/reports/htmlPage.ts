/** The frame and the style of HTML reports, on servers and on clients. */
import { markupText } from './markup.ts';

/** A verdict is the class of its cell. */
const style = `
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 72em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0 2em; }
th, td { border: 1px solid #ccc; padding: 0.2em 0.6em; text-align: left; vertical-align: top; }
th { background: #f3f3f3; }
td small { color: #666; }
code { overflow-wrap: anywhere; }
.case, .number { white-space: nowrap; font-variant-numeric: tabular-nums; }
.OK { background: #dff2d8; } .NON-STRICT { background: #fff3c4; } .INFORMATIONAL { background: #dcebfb; }
.UNIMPLEMENTED, .missing { background: #eee; color: #666; } .FAILED { background: #fbd9d5; }
@media (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd; } th { background: #2b2b2b; } th, td { border-color: #444; } td small { color: #aaa; }
  a { color: #9cf; }
  .OK { background: #1e3a1a; } .NON-STRICT { background: #4a3f10; } .INFORMATIONAL { background: #1c3350; }
  .UNIMPLEMENTED, .missing { background: #333; color: #aaa; } .FAILED { background: #57201a; }
}`;

/** A page without scripts. @param title text @param body markup */
export function htmlPage(title: string, body: readonly string[]): string {
  const heading = markupText(title);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${heading}</title>
<style>${style}
</style>
</head>
<body>
<h1>${heading}</h1>
${body.join('\n')}
</body>
</html>
`;
}
