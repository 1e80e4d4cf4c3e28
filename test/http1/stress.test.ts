// Random scripts of bad servers and fickle callers: no answer is ever mixed up or cut, and every handler ends once.
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import type { Controller } from '../../src/http1/handler.ts'
import { giveBack } from '../../src/http1/intake.ts'
import { type RawRequest, startRawUpstream } from '../fixtures/raw-upstream.ts'
import { Asked, connectTo, poolTo, request, turns } from './asking.ts'

const SERVER = [
  ...['fine', 'fine', 'fine', 'fine', 'chunked', 'chunked', 'pieces', 'late', 'interim'],
  ...[
    'to the end',
    'close',
    'cut',
    'cut chunks',
    'reset',
    'silent end',
    'stray',
    'stray later',
    'hint',
    'junk',
  ],
] as const
const CALLER = [
  ...['waits', 'waits', 'waits', 'waits', 'pauses', 'stays paused', 'aborts at once', 'aborts at its head'],
  ...[
    'keeps',
    'gives back',
    'aborts in its body',
    'aborts later',
    'throws at first',
    'throws in its body',
    'throws at its end',
  ],
] as const
const BODY = ['none', 'none', 'buffer', 'stream', 'length', 'too short', 'too long', 'broken'] as const

/** What is behind an answer, and looks like one. */
const STRAY = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTRAY'

/** The id many times over: a piece of another answer would show. Each seventh is large: its memory is lent. */
const bodyOf = (target: string) => `${target};`.repeat(/^\/[0-9]*[07]\//.test(target) ? 30_000 : 40)

/** Two turns of the event loop later. */
function later(action: () => void): void {
  setImmediate(() => setImmediate(action))
}

function reply({ target }: RawRequest, socket: Socket): void {
  const body = bodyOf(target)
  const how = SERVER[Number(target.split('/')[2])]
  const whole = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const chunks = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n`
  const write = (text: string) => socket.destroyed || socket.write(text)
  switch (how) {
    case 'chunked':
      write(`${chunks}0\r\nX: y\r\n\r\n`)
      break
    case 'pieces': {
      const text = `${chunks}0\r\n\r\n`
      for (const part of [text.slice(0, 20), text.slice(20, 90), text.slice(90)]) write(part)
      break
    }
    case 'late':
      setTimeout(write, 3, whole)
      break
    case 'interim':
      write(`HTTP/1.1 103 Early\r\nX: y\r\n\r\n${whole}`)
      break
    case 'to the end':
      socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`)
      break
    case 'close':
      socket.end(whole.replace('\r\n', '\r\nConnection: close\r\n'))
      break
    case 'cut':
      socket.end(whole.slice(0, -1))
      break
    case 'cut chunks':
      socket.end(chunks)
      break
    case 'reset':
      socket.resetAndDestroy()
      break
    case 'silent end':
      later(() => socket.end())
      break
    case 'stray':
      write(whole + STRAY)
      break
    case 'stray later':
      write(whole)
      later(() => write(STRAY))
      break
    case 'hint':
      write(whole.replace('\r\n', '\r\nKeep-Alive: timeout=1\r\n'))
      break
    case 'junk':
      write('junk\r\n\r\n')
      break
    default:
      write(whole)
  }
}

/** Keeps the pieces as they came, and looks at them when all is over. */
class Keeping extends Asked {
  readonly #pieces: Buffer[] = []

  override onResponseData(controller: Controller, chunk: Buffer): void {
    super.onResponseData(controller, chunk)
    this.#pieces.push(chunk)
  }

  /** Nobody else has written to them. */
  get isIntact(): boolean {
    return Buffer.concat(this.#pieces).toString('latin1') === this.body
  }
}

const defect = new Error('a defect')
function caller(how: (typeof CALLER)[number]): Asked {
  const abort = (controller: Controller) => controller.abort(defect)
  const fail = () => {
    throw defect
  }
  switch (how) {
    case 'pauses':
      return new Asked({
        onResponseData: (controller) => {
          controller.pause()
          setImmediate(() => controller.resume())
        },
      })
    case 'stays paused':
      return new Asked({
        onResponseStart: (controller) => {
          controller.pause()
          setTimeout(() => controller.resume(), 4)
        },
      })
    case 'aborts at once':
      return new Asked({ onRequestStart: abort })
    case 'aborts at its head':
      return new Asked({ onResponseStart: abort })
    case 'aborts in its body':
      return new Asked({ onResponseData: abort })
    case 'aborts later':
      return new Asked({ onRequestStart: (controller) => setTimeout(abort, 1, controller) })
    case 'throws at first':
      return new Asked({ onRequestStart: fail })
    case 'throws in its body':
      return new Asked({ onResponseData: fail })
    case 'throws at its end':
      return new Asked({ onResponseEnd: fail })
    case 'gives back':
      return new Asked({ onResponseData: (_, chunk) => giveBack(chunk as Buffer) })
    case 'keeps':
      return new Keeping()
    default:
      return new Asked()
  }
}

function upload(how: (typeof BODY)[number], target: string) {
  // It is a request itself: a server that saw it as one would answer it.
  const text = `GET ${target}/smuggled HTTP/1.1\r\n\r\n`
  const headers = ['Host', 'a', 'Content-Length', String(text.length)]
  const stream = (...pieces: string[]) => Readable.from(pieces.map((piece) => Buffer.from(piece)))
  switch (how) {
    case 'none':
      return { method: 'GET', body: null }
    case 'buffer':
      return { method: 'POST', body: Buffer.from(text) }
    case 'stream':
      return { method: 'POST', body: stream(text.slice(0, 5), text.slice(5)) }
    case 'length':
      return { method: 'POST', headers, body: stream(text.slice(0, 5), text.slice(5)) }
    case 'too short':
      return { method: 'POST', headers, body: stream(text.slice(0, -1)) }
    case 'too long':
      return { method: 'POST', headers, body: stream(text, text) }
    case 'broken':
      return {
        method: 'POST',
        body: Readable.from(
          (async function* () {
            yield Buffer.from(text.slice(0, 5))
            throw defect
          })(),
        ),
      }
  }
}

const step = fc.record({
  server: fc.nat(SERVER.length - 1),
  caller: fc.constantFrom(...CALLER),
  body: fc.constantFrom(...BODY),
  turns: fc.nat(3),
})
const script = fc.record({
  connections: fc.integer({ min: 1, max: 4 }),
  lends: fc.boolean(),
  steps: fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }),
  end: fc.constantFrom('close', 'close', 'destroy', 'both'),
})

t.test(
  'Every caller hears its own answer, whole or not at all, and of one end',
  { timeout: 300_000 },
  async (t) => {
    const targets: string[] = []
    const { url } = await startRawUpstream(t, (request, socket) => {
      targets.push(request.target)
      reply(request, socket)
    })
    let whole = 0
    const property = fc.asyncProperty(script, async ({ connections, lends, steps, end }) => {
      const pool = poolTo(t, connectTo(url, [], lends), { connections })
      const all: { target: string; asked: Asked; how: string }[] = []
      targets.length = 0
      for (const [nth, { server, caller: how, body, turns: wait }] of steps.entries()) {
        const target = `/${nth}/${server}`
        const asked = caller(how)
        all.push({ target, asked, how })
        pool.dispatch(request({ path: target, ...upload(body, target) }), asked)
        await turns(wait)
      }
      if (end !== 'destroy') pool.close()
      if (end === 'close') await Promise.all(all.map(({ asked }) => asked.over))
      if (end !== 'close') await pool.destroy()
      await pool.close()
      await turns(2)
      for (const { target, asked, how } of all) {
        const { events, body } = asked
        const story = `${target} ${how}: ${events} ${JSON.stringify(body.slice(0, 60))}`
        const ends = events.filter((event) => event === 'end' || event === 'error').length
        const expected = how === 'throws at its end' && events.includes('end') ? 2 : 1
        if (ends !== expected) throw new Error(`${ends} ends: ${story}`)
        if (!bodyOf(target).startsWith(body)) throw new Error(`mixed up: ${story}`)
        if (events.includes('end') && body !== bodyOf(target)) throw new Error(`cut: ${story}`)
        if (asked instanceof Keeping && !asked.isIntact) throw new Error(`written over: ${story}`)
        if (events.includes('end')) whole++
      }
      if (targets.some((target) => target.includes('smuggled'))) throw new Error('a body became a request')
      if (new Set(targets).size !== targets.length) throw new Error('a request was sent twice')
    })
    // More of them by hand: `FUZZ_RUNS=5000 FUZZ_SEED=7`.
    const numRuns = Number(process.env['FUZZ_RUNS'] ?? 60)
    await t.resolves(fc.assert(property, { numRuns, seed: Number(process.env['FUZZ_SEED'] ?? 1) }))
    t.ok(whole > numRuns, `${whole} answers were whole`)
  },
)
