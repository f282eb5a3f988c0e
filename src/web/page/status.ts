/** The line about the state of the connection; hidden while everything works. */

export interface Status {
  connecting(): void;
  /** @param retryAt `Date.now()` of the next attempt */
  lost(retryAt: number): void;
  /** @param transport empty for a WebSocket */
  entered(transport: string): void;
}

/** @param tryNow connects at once */
export function newStatus(tryNow: () => void): Status {
  const places = [...document.querySelectorAll<HTMLElement>('.status')];
  let countdown: ReturnType<typeof setInterval> | undefined;
  let isLost = false;

  /** @param when not announced by screen readers, as it changes every second */
  const say = (what: string, when: string): void => {
    clearInterval(countdown);
    for (const place of places) {
      place.hidden = false;
      place.querySelector('.what')!.textContent = what;
      place.querySelector('.when')!.textContent = when;
      place.querySelector('button')!.hidden = when === '';
    }
  };
  const count = (retryAt: number): void => {
    const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
    say('No connection.', `Trying again in ${seconds} s…`);
    countdown = setInterval(count, 1000, retryAt);
  };
  for (const place of places) place.querySelector('button')!.onclick = tryNow;

  return {
    connecting() {
      say(isLost ? 'Reconnecting…' : 'Connecting…', '');
    },
    lost(retryAt) {
      isLost = true;
      count(retryAt);
    },
    entered(transport) {
      say(`Connected ${transport}.`, '');
      isLost = false;
      for (const place of places) place.hidden = transport === '';
    },
  };
}
