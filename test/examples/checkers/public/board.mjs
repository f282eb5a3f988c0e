/**
 * The board: 32 buttons in a grid, and the pieces on top of them. It shows a view, and reports the squares that the user chooses
 * by mouse, finger or keyboard.
 *
 * @import { Move, Position, Side } from './rules.mjs'
 *
 * @typedef {object} View
 * @property {Position} position
 * @property {Side} bottom the side whose first row is at the bottom
 * @property {Move | undefined} move the move that led to the position; it is animated if the board shows the position before it
 * @property {ReadonlySet<number>} movable squares with a piece that may move now
 * @property {ReadonlySet<number>} targets squares where the chosen piece may go
 * @property {readonly number[]} chosen the squares that the user has chosen for the next move so far
 */

import { pieceOn, placeOf, sideOf, squareAt } from './rules.mjs';

const xmlns = 'http://www.w3.org/2000/svg';
/** Milliseconds for one step of a piece. */
const stepTime = 190;

/** @type {Record<string, string>} */
const pieceNames = { r: 'red man', R: 'red king', w: 'white man', W: 'white king', '.': 'empty' };

/** @param {string} piece */
export function pieceImage(piece) {
  const image = document.createElementNS(xmlns, 'svg');
  const use = document.createElementNS(xmlns, 'use');
  use.setAttribute('href', piece === piece.toUpperCase() ? '#king' : '#man');
  image.append(use);
  image.setAttribute('class', `piece ${sideOf(piece)}`);
  image.dataset['piece'] = piece;
  return image;
}

/** @param {HTMLElement} host @param {(square: number) => void} [onChosen] without it, the board is a picture */
export function newBoard(host, onChosen) {
  /** @type {Map<number, HTMLButtonElement>} */
  const squares = new Map();
  /** @type {Map<number, SVGElement>} */
  const pieces = new Map();
  /** @type {View | undefined} */
  let shown;
  let focused = 1;
  /** The user has dragged the piece to its square, so it needs no animation. */
  let isDropped = false;

  const layer = document.createElement('div');
  layer.className = 'pieces';
  const grid = document.createElement('div');
  grid.className = 'squares';
  grid.setAttribute('role', 'grid');
  grid.setAttribute('aria-label', 'Board. Arrow keys move, Enter chooses a piece and then its square.');
  host.replaceChildren(grid, layer);

  /** Row and column on the screen. @param {number} square @param {Side} bottom */
  const seen = (square, bottom) => {
    const { row, column } = placeOf(square);
    return bottom === 'red' ? { row: 7 - row, column: 7 - column } : { row, column };
  };

  /** @param {Side} bottom */
  function layOut(bottom) {
    grid.replaceChildren();
    squares.clear();
    for (let row = 0; row < 8; row++) {
      const line = document.createElement('div');
      line.setAttribute('role', 'row');
      for (let column = 0; column < 8; column++) {
        const square = bottom === 'red' ? squareAt(7 - row, 7 - column) : squareAt(row, column);
        line.append(square === 0 ? lightSquare() : darkSquare(square));
      }
      grid.append(line);
    }
  }

  function lightSquare() {
    const cell = document.createElement('span');
    cell.setAttribute('role', 'presentation');
    return cell;
  }

  /** @param {number} square */
  function darkSquare(square) {
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('role', 'gridcell');
    button.dataset['square'] = String(square);
    button.disabled = onChosen === undefined;
    button.tabIndex = square === focused ? 0 : -1;
    button.onclick = () => onChosen?.(square);
    button.onfocus = () => focusOn(square);
    button.onpointerdown = event => drag(event, square);
    squares.set(square, button);
    return button;
  }

  /** One square of the board is in the tab order. Arrow keys reach the others. @param {number} square */
  function focusOn(square) {
    const before = squares.get(focused);
    if (before) before.tabIndex = -1;
    focused = square;
    const now = squares.get(square);
    if (now) now.tabIndex = 0;
  }

  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -2], ArrowRight: [0, 2] };

  grid.onkeydown = event => {
    const arrow = arrows[/** @type {keyof typeof arrows} */ (event.key)];
    if (arrow === undefined || shown === undefined) return;
    event.preventDefault();
    const { row, column } = seen(focused, shown.bottom);
    const [down = 0, right = 0] = arrow;
    const at = { row: row + down, column: column + right };
    // The dark squares of the next row are one column to the left or right.
    const nearby = down === 0 ? [0] : at.row % 2 === 0 ? [1, -1] : [-1, 1];
    for (const beside of nearby) {
      const { bottom } = shown;
      const to =
        bottom === 'red'
          ? squareAt(7 - at.row, 7 - at.column - beside)
          : squareAt(at.row, at.column + beside);
      if (to > 0) return squares.get(to)?.focus();
    }
  };

  /** Lets the user drag a piece. A click without a movement stays a click. @param {PointerEvent} down @param {number} square */
  function drag(down, square) {
    const piece = pieces.get(square);
    if (!shown?.movable.has(square) || piece === undefined || down.button !== 0) return;
    const button = squares.get(square);
    const { width } = host.getBoundingClientRect();
    let isDragging = false;
    button?.setPointerCapture(down.pointerId);
    /** @param {PointerEvent} move */
    const onMove = move => {
      const [x, y] = [move.clientX - down.clientX, move.clientY - down.clientY];
      if (!isDragging && Math.hypot(x, y) < 6) return;
      if (!isDragging && !shown?.chosen.includes(square)) onChosen?.(square);
      isDragging = true;
      piece.classList.add('dragged');
      const unit = 800 / width;
      piece.style.translate = `${x * unit}% ${y * unit}%`;
    };
    /** @param {PointerEvent} up */
    const onUp = up => {
      button?.removeEventListener('pointermove', onMove);
      piece.classList.remove('dragged');
      piece.style.translate = '';
      if (!isDragging) return;
      // The browser reports a click after the drag: it chooses nothing.
      addEventListener('click', stop, { capture: true });
      setTimeout(() => removeEventListener('click', stop, { capture: true }));
      const under = document.elementFromPoint(up.clientX, up.clientY)?.closest('[data-square]');
      const to = Number(under instanceof HTMLElement ? under.dataset['square'] : 0);
      if (to > 0 && to !== square && up.type === 'pointerup') {
        isDropped = true;
        onChosen?.(to);
        isDropped = false;
      }
    };
    button?.addEventListener('pointermove', onMove);
    button?.addEventListener('pointerup', onUp, { once: true });
    button?.addEventListener('pointercancel', onUp, { once: true });
  }

  /** @param {SVGElement} piece @param {number} square @param {Side} bottom */
  function place(piece, square, bottom) {
    piece.style.transform = transformAt(square, bottom);
  }

  /** @param {number} square @param {Side} bottom */
  function transformAt(square, bottom) {
    const { row, column } = seen(square, bottom);
    return `translate(${column * 100}%, ${row * 100}%)`;
  }

  /** @param {View} view */
  function show(view) {
    const { position, bottom, move, movable, targets, chosen } = view;
    if (shown?.bottom !== bottom) layOut(bottom);
    const isNew = shown?.position !== position || shown.bottom !== bottom;
    if (isNew) showPieces(view, shown?.bottom === bottom ? shown.position : undefined);
    for (const [square, button] of squares) {
      const names = [pieceNames[pieceOn(position, square)]];
      if (movable.has(square)) names.push('can move');
      if (chosen.includes(square)) names.push('chosen');
      if (targets.has(square)) names.push('possible');
      button.ariaLabel = `${square}, ${names.join(', ')}`;
      button.classList.toggle('movable', movable.has(square) && chosen.length === 0);
      button.classList.toggle('chosen', chosen.includes(square));
      button.classList.toggle('target', targets.has(square));
      button.classList.toggle('trace', move?.path.includes(square) ?? false);
      button.classList.toggle('grip', movable.has(square));
    }
    shown = view;
  }

  /** @param {View} view @param {Position | undefined} before */
  function showPieces({ position, bottom, move }, before) {
    const from = move?.path[0] ?? 0;
    const moved = pieces.get(from);
    const isNext = move !== undefined && before !== undefined && moved !== undefined;
    const canAnimate =
      isNext &&
      !isDropped &&
      pieceOn(position, from === move.path.at(-1) ? 0 : from) === '.' &&
      move.captured.every(square => pieces.has(square) && pieceOn(position, square) === '.') &&
      !matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (canAnimate) {
      const to = move.path.at(-1) ?? from;
      pieces.delete(from);
      pieces.set(to, moved);
      layer.append(moved);
      place(moved, to, bottom);
      const duration = stepTime * (move.path.length - 1);
      const transform = move.path.map(square => transformAt(square, bottom));
      moved.animate({ transform }, { duration, easing: move.path.length > 2 ? 'linear' : 'ease-in-out' });
      for (const [at, square] of move.captured.entries()) vanish(square, stepTime * (at + 0.6));
    }
    for (const [square, piece] of pieces) {
      if (pieceOn(position, square) === piece.dataset['piece']) {
        place(piece, square, bottom);
        continue;
      }
      const delay = canAnimate && square === move.path.at(-1) ? stepTime * (move.path.length - 1) : 0;
      if (delay > 0) crown(square, pieceOn(position, square), delay);
      else {
        piece.remove();
        pieces.delete(square);
      }
    }
    for (let square = 1; square <= 32; square++) {
      const name = pieceOn(position, square);
      if (name === '.' || pieces.has(square)) continue;
      const piece = pieceImage(name);
      place(piece, square, bottom);
      layer.append(piece);
      pieces.set(square, piece);
    }
  }

  /** @param {number} square @param {number} delay */
  function vanish(square, delay) {
    const piece = pieces.get(square);
    pieces.delete(square);
    const timing = { duration: 160, delay, fill: /** @type {const} */ ('forwards') };
    piece?.querySelector('use')?.animate({ scale: [1, 0.6] }, timing);
    const fading = piece?.animate({ opacity: [1, 0] }, timing);
    if (fading) fading.onfinish = () => piece?.remove();
  }

  /** Crowns the piece when it has arrived. @param {number} square @param {string} name @param {number} delay */
  function crown(square, name, delay) {
    const piece = pieces.get(square);
    if (piece === undefined) return;
    piece.dataset['piece'] = name;
    setTimeout(() => {
      const use = piece.querySelector('use');
      use?.setAttribute('href', '#king');
      use?.animate({ scale: [1, 1.18, 1] }, { duration: 260 });
    }, delay);
  }

  return { show };
}

/** @param {Event} event */
const stop = event => event.stopPropagation();
