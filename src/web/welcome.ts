/** The page at `/`. It needs no script, so none is allowed. */
export const welcomePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Pollywog</title>
<style>
  :root { --ink: #1c2b28; --soft: #5a6f6a; --paper: #f4f7f3; --card: #ffffff; --line: #d9e3dc; --leaf: #1f7a5c; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e4eee9; --soft: #93a8a1; --paper: #10191a; --card: #172324; --line: #263735; --leaf: #5fd0a5; }
  }
  * { box-sizing: border-box; margin: 0; }
  body { background: var(--paper); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; padding: 12vh 1.25rem 4rem; }
  main { max-width: 36rem; margin: auto; }
  h1 { font-size: 2.25rem; line-height: 1.2; letter-spacing: -.02em; }
  h1::before { content: ''; display: inline-block; width: .55em; height: .55em; margin-right: .35em; border-radius: 60% 60% 60% 0; background: var(--leaf); }
  p { margin-top: .75rem; color: var(--soft); }
  dl { margin-top: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; overflow: hidden; }
  dl div { padding: .9rem 1.1rem; display: grid; grid-template-columns: 8rem 1fr; gap: .25rem 1rem; }
  dl div + div { border-top: 1px solid var(--line); }
  dt, code { font: .925em/1.6 ui-monospace, monospace; color: var(--leaf); }
  dd { color: var(--ink); }
  @media (max-width: 30rem) { dl div { grid-template-columns: 1fr; } }
</style>
<main>
  <h1>Pollywog</h1>
  <p>A WebSocket server: one thread, one loop. It is running, and it speaks WebSocket at this address.</p>
  <dl>
    <div><dt>/echo</dt><dd>sends every message back to whoever sent it</dd></div>
    <div><dt>/broadcast</dt><dd>sends every message to everyone who is connected to it</dd></div>
    <div><dt>/healthz</dt><dd>answers “ok” over HTTP, for whoever watches over it</dd></div>
  </dl>
  <p>Try it from this page’s console: <code>s = new WebSocket(location.origin.replace('http', 'ws') + '/echo')</code></p>
</main>
</html>
`;
