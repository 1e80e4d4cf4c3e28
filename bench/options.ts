// The words after `npm run bench --` → what to run and how long; pure.

/** What measures something. */
export const MEASURES = ['compare', 'growth', 'soak', 'http2', 'processes'] as const
export type Measure = (typeof MEASURES)[number]
export const COMMANDS = [...MEASURES, 'all', 'docs'] as const
export type Command = (typeof COMMANDS)[number]

export interface Options {
  readonly command: Command
  /** Contenders by id; all where undefined. */
  readonly only: readonly string[] | undefined
  /** How often each measure is taken, contenders taking turns. */
  readonly rounds: number
  /** Of load for one figure; undefined: what {@link lengthOf} says. */
  readonly seconds: number | undefined
  readonly quick: boolean
  /** Where the result goes; without it `bench/results/COMMAND.json` for whole runs, and nowhere for parts and quick ones. */
  readonly json: string | undefined
  readonly plots: boolean
  readonly writeDocs: boolean
  readonly help: boolean
}

/** Words that make no sense; its message says what would. */
export class OptionError extends Error {}

export const USAGE = `usage: npm run bench -- [COMMAND] [OPTION…]

commands:
  compare     (default) procore-proxy beside nginx, HAProxy, Caddy and Node's proxies; up to 10 minutes
  growth      cost and memory with more callers, companies, tokens and larger bodies
  soak        ten minutes at a fixed rate: memory, sockets
  http2       HTTP/1.1 and HTTP/2 to the API with 50 ms of latency
  processes   one process and two behind one port
  all         all of these
  docs        nothing is measured: docs/performance.md and its plots anew from bench/results/*.json

options:
  --only a,b      these contenders alone (compare)
  --rounds N      how often each measure is taken (3)
  --seconds S     seconds of load for one figure (3; soak: 600)
  --quick         one short round of everything: two minutes, rough figures
  --json FILE     write the result there, and not to bench/results/COMMAND.json
  --plots         draw docs/performance/*.svg from the results
  --write-docs    plots, and the generated part of docs/performance.md`

/** Reads the words; throws {@link OptionError}. */
export function readOptions(words: readonly string[]): Options {
  let command: Command | undefined
  const given: { -readonly [Key in keyof Options]?: Options[Key] } = {}
  for (let at = 0; at < words.length; at++) {
    const [word = '', inline] = splitOnce(words[at]!)
    const value = () => {
      const next = inline ?? words[++at]
      if (next === undefined || (inline === undefined && next.startsWith('--'))) {
        throw new OptionError(`${word} needs a value`)
      }
      return next
    }
    const plain = () => {
      if (inline !== undefined) throw new OptionError(`${word} takes no value`)
      return true
    }
    switch (word) {
      case '--only':
        given.only = value().split(',').filter(Boolean)
        break
      case '--rounds':
        given.rounds = wholeNumber(word, value())
        break
      case '--seconds':
        given.seconds = wholeNumber(word, value())
        break
      case '--json':
        given.json = value()
        break
      case '--quick':
        given.quick = plain()
        break
      case '--plots':
        given.plots = plain()
        break
      case '--write-docs':
        given.writeDocs = plain()
        break
      case '--help':
        given.help = plain()
        break
      default:
        if (word.startsWith('-')) throw new OptionError(`there is no option ${word}`)
        if (!isCommand(word)) {
          throw new OptionError(`there is no command ${word}; there are: ${COMMANDS.join(', ')}`)
        }
        if (command !== undefined) throw new OptionError(`two commands: ${command} and ${word}`)
        command = word
    }
  }
  const quick = given.quick ?? false
  if (command === 'all' && given.json !== undefined) throw new OptionError('--json takes one result, not all')
  return {
    command: command ?? 'compare',
    only: given.only,
    rounds: given.rounds ?? (quick ? 1 : 3),
    seconds: given.seconds,
    quick,
    json: given.json,
    plots: given.plots ?? false,
    writeDocs: given.writeDocs ?? false,
    help: given.help ?? false,
  }
}

/** Seconds of load for one figure. */
export function lengthOf(measure: Measure, { seconds, quick }: Pick<Options, 'seconds' | 'quick'>): number {
  if (seconds !== undefined) return seconds
  if (measure === 'soak') return quick ? 20 : 600
  return quick ? 1 : 3
}

function splitOnce(word: string): [string, string | undefined] {
  const mark = word.startsWith('--') ? word.indexOf('=') : -1
  return mark < 0 ? [word, undefined] : [word.slice(0, mark), word.slice(mark + 1)]
}

function isCommand(word: string): word is Command {
  return (COMMANDS as readonly string[]).includes(word)
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new OptionError(`${name} ${text}: a whole number above 0`)
  return value
}
