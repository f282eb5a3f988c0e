/** One quiet line about the connection, wherever it matters: empty while all is well. */

export interface Status {
  connecting(): void;
  /** @param retryAt as Date.now() counts */
  lost(retryAt: number): void;
  /** @param way how, where that is worth a word */
  entered(way: string): void;
}

/** @param tryNow connects without waiting for the rest of the wait */
export function newStatus(tryNow: () => void): Status {
  const places = [...document.querySelectorAll<HTMLElement>('.status')];
  let countdown: ReturnType<typeof setInterval> | undefined;
  let isLost = false;

  /** @param when is not read out: it changes every second */
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
    entered(way) {
      say(`Connected ${way}.`, '');
      isLost = false;
      for (const place of places) place.hidden = way === '';
    },
  };
}
