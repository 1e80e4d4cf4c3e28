// Reads the rest of a large body past Node's HTTP parser, which would make new memory for each 64 KiB and copy into it.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Intake } from '../http1/intake.ts'

/** What is used of Node's parser (lib/_http_common.js, src/node_http_parser.cc). */
interface Parser {
  readonly constructor: { readonly kOnBody?: unknown }
  /** Callbacks, by number. */
  [callback: number]: unknown
  execute(bytes: Buffer): number | Error
}

/** What is used of the inside of Node's sockets (lib/net.js): where net.connect keeps its option `onread`. */
interface Inside {
  readonly parser?: Parser | null
  /** Node holds the caller back, for answers that it does not take; Node itself goes on when they are taken. */
  readonly _paused?: boolean
  readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void } | null
  [slot: symbol]: unknown
}

type ServedSocket = Socket & Inside

/** Where one piece after the other goes; false: no more for now. */
export type Taker = (piece: Buffer) => boolean

const readers = new WeakMap<Socket, PastParser>()

/**
 * From now on the rest of the body, so many bytes, goes to `take`, in pieces of lent memory (see intake.ts); the request
 * itself tells only its end. To be called from outside of any event of the request, and with nothing of its body buffered.
 * Undefined where this Node has another inside: then the body comes from the request as before.
 */
export function readPast(request: IncomingMessage, bytes: number, take: Taker): PastParser | undefined {
  if ((request.socket as ServedSocket)._paused === true) return undefined
  const reader = readers.get(request.socket) ?? PastParser.of(request.socket)
  reader?.begin(bytes, take)
  return reader
}

/** One connection's. Between large bodies it hands to Node what comes in. */
export class PastParser {
  readonly #socket: ServedSocket
  readonly #parser: Parser
  readonly #callback: number
  readonly #intake = new Intake()
  #left = 0
  #take: Taker = () => true

  private constructor(socket: ServedSocket, parser: Parser, callback: number) {
    this.#socket = socket
    this.#parser = parser
    this.#callback = callback
    this.#intake.attach((bytes) => this.#read(bytes))
  }

  /** Makes the socket read into memory of ours. */
  static of(plain: Socket): PastParser | undefined {
    const socket = plain as ServedSocket
    const { parser, _handle: handle } = socket
    const callback = parser?.constructor.kOnBody
    const [buffer, next, onRead] = ['kBuffer', 'kBufferGen', 'kBufferCb'].map((name) =>
      Object.getOwnPropertySymbols(socket).find(({ description }) => description === name),
    )
    if (parser == null || typeof callback !== 'number' || typeof parser[callback] !== 'function') return
    if (!buffer || !next || !onRead || handle?.useUserBuffer === undefined) return
    const reader = new PastParser(socket, parser, callback)
    const { onread } = reader.#intake
    // Node lets go of a socket that somebody else listens to, and then takes what is emitted.
    socket.on('data', ignore)
    socket.off('data', ignore)
    const first = onread.buffer()
    socket[buffer] = first
    socket[next] = onread.buffer
    socket[onRead] = onread.callback
    handle.useUserBuffer(first)
    readers.set(socket, reader)
    return reader
  }

  begin(bytes: number, take: Taker): void {
    this.#left = bytes
    this.#take = take
  }

  /** No more for now. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    // Node asserts that nothing is read while it holds the caller back.
    if (this.#socket._paused !== true) this.#socket.resume()
  }

  /** True where more of the body is to come. */
  #read(bytes: Buffer): boolean {
    const parser = this.#parser
    if (this.#socket.parser !== parser) return false
    if (this.#left === 0) {
      this.#socket.emit('data', bytes)
      return false
    }
    const piece = bytes.subarray(0, this.#left)
    this.#left -= piece.length
    if (!this.#take(this.#intake.keep(piece))) this.pause()
    // The parser counts with us, so that it finds the end; without this callback it does nothing else.
    const onBody = parser[this.#callback]
    parser[this.#callback] = undefined
    const result = parser.execute(piece)
    parser[this.#callback] = onBody
    if (typeof result !== 'number') this.#socket.destroy(result)
    else if (piece.length < bytes.length) this.#socket.emit('data', Buffer.from(bytes.subarray(piece.length)))
    return this.#left > 0
  }
}

function ignore(): void {}
