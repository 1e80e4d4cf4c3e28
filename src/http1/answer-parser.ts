// Reads HTTP/1.1 answers off one connection, strictly: what two readers could understand in two ways is refused.
import { isToken, perName } from './per-name.ts'

/** An answer that is no proper HTTP/1.1. Its message is ours: nothing of the answer is in it. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError'
}

/** What the parser tells, in this order; a body piece is a part of the chunk that was read. */
export interface AnswerSink {
  /** The final head; `headers` is flat, Latin-1, without the spaces around values. */
  onHead(status: number, message: string, headers: string[]): void
  onBody(piece: Buffer): void
}

/** Status line, header lines and what lies between them. */
const MOST_HEAD_BYTES = 32 * 1024
/** A chunk's size with its extensions, and all lines of trailers. */
const MOST_LINE_BYTES = 4 * 1024
const MOST_TRAILER_BYTES = 16 * 1024

const LINE_END = '\r\n'
const HEAD_END = Buffer.from('\r\n\r\n')
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: (.*))?$/
/** Bytes that a header line never holds; line ends are told apart by where they stand. */
const NOT_IN_HEAD = /[^\t\x20-\x7e\x80-\xff\r\n]/
/** In a line: ends that are none (RFC 9112 section 2.2), too. */
const NOT_IN_LINE = /[^\t\x20-\x7e\x80-\xff]/
/** With its extensions, which mean nothing here: `;name`, `;name=value` or `;name="value"`, without blanks. */
const CHUNK_SIZE =
  /^([0-9a-fA-F]{1,12})(?:;[!#$%&'*+.^_`|~0-9a-zA-Z-]+(?:=(?:[!#$%&'*+.^_`|~0-9a-zA-Z-]+|"[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]*"))?)*$/

type Meaning = 'other' | 'content-length' | 'transfer-encoding' | 'connection' | 'keep-alive'
const FRAMING: ReadonlySet<string> = new Set<Meaning>([
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
])

interface Field {
  /** As the server spells it; the same string each time, so that whoever looks it up need not read it anew. */
  readonly name: string
  readonly meaning: Meaning
}

const fieldOf = perName((name): Field => {
  if (!isToken(name)) throw new AnswerError('a header line without a proper name')
  const lower = name.toLowerCase()
  return { name, meaning: FRAMING.has(lower) ? (lower as Meaning) : 'other' }
})

/** A status line, and what it says. */
interface StatusLine {
  readonly line: string
  readonly status: number
  readonly isHttp11: boolean
  readonly message: string
}

const COLON = 0x3a
/** Of one answer, for the next. */
const MOST_FIELDS_KEPT = 64

const AWAITS_HEAD = 0
const COUNTS_BYTES = 1
const AWAITS_CHUNK_SIZE = 2
const COUNTS_CHUNK = 3
const AWAITS_CHUNK_END = 4
const AWAITS_TRAILERS = 5
const READS_TO_END = 6
const DONE = 7

/** Reads one answer at a time: {@link begin}, then {@link read} until {@link isDone}. */
export class AnswerParser {
  readonly #sink: AnswerSink
  #state = DONE
  #isHead = false
  /** The beginning of a head or line whose end is still to come. */
  #pending: Buffer | undefined
  /** Of the body, or of the chunk. */
  #bytesLeft = 0
  #trailerBytes = 0
  /** Of the answer before: another one of the same server mostly begins the same, and has the same headers. */
  #start: StatusLine | undefined
  readonly #fields: Field[] = []
  /** The connection can serve another request once this answer is done. */
  keepsAlive = false
  /** Seconds that `Keep-Alive: timeout=` promises; undefined where there is no such promise. */
  idleSeconds: number | undefined

  constructor(sink: AnswerSink) {
    this.#sink = sink
  }

  /** An answer is awaited; `isHead`: to a HEAD request, so it has no body. */
  begin(isHead: boolean): void {
    this.#state = AWAITS_HEAD
    this.#isHead = isHead
    this.#pending = undefined
    this.keepsAlive = false
    this.idleSeconds = undefined
  }

  /** The whole answer was read, or it was given up. */
  get isDone(): boolean {
    return this.#state === DONE
  }

  /** Nothing more of this answer is read; may be called from the sink. */
  stop(): void {
    this.#state = DONE
    this.#pending = undefined
  }

  /** Reads what came; gives how many bytes of it lie behind the answer's end. Throws {@link AnswerError}. */
  read(chunk: Buffer): number {
    let bytes = chunk
    if (this.#pending !== undefined) {
      bytes = Buffer.concat([this.#pending, chunk])
      this.#pending = undefined
    }
    let at = 0
    while (at < bytes.length && this.#state !== DONE) {
      switch (this.#state) {
        case AWAITS_HEAD:
          at = this.#readHead(bytes, at)
          break
        case COUNTS_BYTES:
          at = this.#readCounted(bytes, at)
          if (this.#bytesLeft === 0) this.#state = DONE
          break
        case COUNTS_CHUNK:
          at = this.#readCounted(bytes, at)
          if (this.#bytesLeft === 0 && this.#state === COUNTS_CHUNK) this.#state = AWAITS_CHUNK_END
          break
        case READS_TO_END:
          this.#sink.onBody(at === 0 ? bytes : bytes.subarray(at))
          at = bytes.length
          break
        default:
          at = this.#readLine(bytes, at)
      }
    }
    return bytes.length - at
  }

  /** The connection has ended: true where that is the answer's end, too. */
  finish(): boolean {
    const isEnd = this.#state === READS_TO_END
    this.stop()
    return isEnd
  }

  #readHead(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(HEAD_END, at)
    // Three bytes of its end may be there already: how it was cut into chunks makes no difference.
    if ((end === -1 ? bytes.length - 3 : end) - at > MOST_HEAD_BYTES) throw new AnswerError('too long a head')
    if (end === -1) {
      this.#keep(bytes, at)
      return bytes.length
    }
    this.#parseHead(bytes.toString('latin1', at, end))
    return end + HEAD_END.length
  }

  /** What is not whole yet waits for more, in memory of its own: `bytes` may be a slice of something large. */
  #keep(bytes: Buffer, at: number): void {
    if (at < bytes.length) this.#pending = Buffer.from(bytes.subarray(at))
  }

  #parseHead(head: string): void {
    let lineEnd = head.indexOf(LINE_END)
    if (lineEnd === -1) lineEnd = head.length
    // The reason phrase means nothing, so nothing in it but the line's end is looked at.
    if (NOT_IN_HEAD.test(head.slice(lineEnd))) throw new AnswerError('bytes that no head may hold')
    const line = head.slice(0, lineEnd)
    if (line !== this.#start?.line) this.#start = readStart(line)
    const { status, isHttp11, message } = this.#start
    const headers: string[] = []
    let length: string | undefined
    let coding: string | undefined
    let connection = ''
    let keepAlive: string | undefined
    let nth = 0
    for (let at = lineEnd + 2; at < head.length; nth++) {
      lineEnd = endOfLine(head, at)
      let field = this.#fields[nth]
      let colon = at + (field?.name.length ?? 0)
      // Mostly the same headers come in the same order as the time before.
      if (field === undefined || head.charCodeAt(colon) !== COLON || !head.startsWith(field.name, at)) {
        colon = head.indexOf(':', at)
        // A line that begins with a space is no name either: obsolete folding is refused (RFC 9112 section 5.2).
        if (colon === -1 || colon > lineEnd) throw new AnswerError('a header line without a colon')
        field = fieldOf(head.slice(at, colon))
        if (nth < MOST_FIELDS_KEPT) this.#fields[nth] = field
      }
      const { name, meaning } = field
      const value = trimmed(head, colon + 1, lineEnd)
      // Parsers differ over tabs, and here that would be over where the answer ends.
      if (
        meaning !== 'other' &&
        value.length < lineEnd - colon - 1 &&
        head.slice(colon, lineEnd).includes('\t')
      ) {
        throw new AnswerError('a tab around the value of a header that frames the answer')
      }
      switch (meaning) {
        case 'content-length':
          if (length !== undefined) throw new AnswerError('Content-Length more than once')
          length = value
          break
        case 'transfer-encoding':
          coding = coding === undefined ? value : `${coding}, ${value}`
          break
        case 'connection':
          connection = connection === '' ? value : `${connection}, ${value}`
          break
        case 'keep-alive':
          keepAlive = value
          break
        default:
      }
      headers.push(name, value)
      at = lineEnd + 2
    }
    const hasNext = allowsAnother(connection, isHttp11)
    if (status < 200) {
      // Interim answers (100, 103) are passed over: the next head follows.
      if (!hasNext || coding !== undefined || (length !== undefined && length !== '0')) {
        throw new AnswerError('an interim answer that has a body, or says that nothing follows')
      }
      return
    }
    this.#frame(status, isHttp11, length, coding)
    this.keepsAlive &&= hasNext
    if (keepAlive !== undefined) this.idleSeconds = promisedSeconds(keepAlive)
    this.#sink.onHead(status, message, headers)
  }

  /** How the body's end is known (RFC 9112 section 6.3). */
  #frame(status: number, isHttp11: boolean, length: string | undefined, coding: string | undefined): void {
    this.keepsAlive = true
    if (coding !== undefined && length !== undefined) {
      throw new AnswerError('both Content-Length and Transfer-Encoding')
    }
    if (length !== undefined && !/^[0-9]{1,15}$/.test(length)) {
      throw new AnswerError('a Content-Length that is no number')
    }
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
      throw new AnswerError('an unknown transfer coding')
    }
    if (this.#isHead || status === 204 || status === 304) this.#state = DONE
    else if (coding !== undefined) {
      this.#state = AWAITS_CHUNK_SIZE
      // RFC 9112 section 6.1: HTTP/1.0 knows no chunks, so who sent them is not to be relied upon.
      if (!isHttp11) this.keepsAlive = false
    } else if (length === undefined) {
      this.#state = READS_TO_END
      this.keepsAlive = false
    } else {
      this.#bytesLeft = Number(length)
      this.#state = this.#bytesLeft === 0 ? DONE : COUNTS_BYTES
    }
  }

  #readCounted(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#bytesLeft)
    this.#bytesLeft -= end - at
    this.#sink.onBody(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
    return end
  }

  #readLine(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(LINE_END, at, 'latin1')
    if ((end === -1 ? bytes.length - 1 : end) - at > MOST_LINE_BYTES) throw new AnswerError('too long a line')
    if (end === -1) {
      this.#keep(bytes, at)
      return bytes.length
    }
    const line = bytes.toString('latin1', at, end)
    if (this.#state === AWAITS_CHUNK_END) {
      if (line !== '') throw new AnswerError('a chunk that is longer than it says')
      this.#state = AWAITS_CHUNK_SIZE
    } else if (this.#state === AWAITS_CHUNK_SIZE) this.#beginChunk(line)
    else this.#passTrailer(line)
    return end + LINE_END.length
  }

  #beginChunk(line: string): void {
    const size = CHUNK_SIZE.exec(line)
    if (size === null) throw new AnswerError('a chunk without a proper size')
    this.#bytesLeft = Number.parseInt(size[1] as string, 16)
    this.#trailerBytes = 0
    this.#state = this.#bytesLeft === 0 ? AWAITS_TRAILERS : COUNTS_CHUNK
  }

  /** Trailers are read and dropped: whoever would need them has not been told that they come. */
  #passTrailer(line: string): void {
    if (line === '') {
      this.#state = DONE
      return
    }
    this.#trailerBytes += line.length
    const colon = line.indexOf(':')
    if (this.#trailerBytes > MOST_TRAILER_BYTES) throw new AnswerError('too many trailers')
    if (colon === -1 || NOT_IN_LINE.test(line)) throw new AnswerError('a trailer that is no header line')
    const { meaning } = fieldOf(line.slice(0, colon))
    if (meaning === 'content-length' || meaning === 'transfer-encoding') {
      throw new AnswerError('a trailer that says where the answer ends')
    }
  }
}

function readStart(text: string): StatusLine {
  // A copy: a part of a head would keep all of it in memory.
  const line = Buffer.from(text, 'latin1').toString('latin1')
  const start = STATUS_LINE.exec(line)
  if (start === null) throw new AnswerError('no status line of HTTP/1.1 or 1.0')
  const status = Number(start[2])
  if (status === 101) throw new AnswerError('a switch to another protocol, which nobody asked for')
  return { line, status, isHttp11: start[1] === '1', message: start[3] ?? '' }
}

/** Where a line ends; a CR or LF that stands alone is no end (RFC 9112 section 2.2), and nothing else either. */
function endOfLine(head: string, at: number): number {
  const end = head.indexOf('\r', at)
  const feed = head.indexOf('\n', at)
  if (end === -1 && feed === -1) return head.length
  if (end === -1 || feed !== end + 1) throw new AnswerError('bytes that no head may hold')
  return end
}

/** The part of a text without spaces and tabs at its ends. */
function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** RFC 9112 section 9.3. */
function allowsAnother(connection: string, isHttp11: boolean): boolean {
  if (connection === '') return isHttp11
  const options = connection
    .toLowerCase()
    .split(',')
    .map((option) => trimmed(option, 0, option.length))
  return !options.includes('close') && (isHttp11 || options.includes('keep-alive'))
}

function promisedSeconds(keepAlive: string): number | undefined {
  const seconds = /(?:^|[,;\s])timeout\s*=\s*"?([0-9]{1,9})/i.exec(keepAlive)?.[1]
  return seconds === undefined ? undefined : Number(seconds)
}
