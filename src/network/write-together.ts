// Lets what is written to many sockets in one turn of the event loop leave at its end, together.
import type { Writable } from 'node:stream'

// Whoever is at the other end of a socket, and asleep, is woken by what is written: the most expensive part of a small
// write. Writes that follow each other closely wake it once for many.

let corked: Writable[] = []
let settling: Settler[] = []
let isAwaited = false

/** Holds back what is written to the socket until every event of this turn has been handled. */
export function writeTogether(socket: Writable): void {
  socket.cork()
  corked.push(socket)
  awaitEnd()
}

/** Who has something to write at the end of the turn. */
export interface Settler {
  settle(): void
}

/** Lets it write then, before the sockets that are held back. */
export function settleTogether(settler: Settler): void {
  settling.push(settler)
  awaitEnd()
}

/** Writes at once what is held back: the socket is about to be destroyed, and what was written would be lost. */
export function writeNow(socket: Writable): void {
  while (socket.writableCorked > 0) socket.uncork()
}

function awaitEnd(): void {
  if (isAwaited) return
  isAwaited = true
  setImmediate(release)
}

function release(): void {
  isAwaited = false
  const settlers = settling
  settling = []
  for (const settler of settlers) settler.settle()
  // Those that a settler held back among them.
  const sockets = corked
  corked = []
  for (const socket of sockets) socket.uncork()
}
