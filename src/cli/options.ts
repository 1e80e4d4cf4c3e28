// The flags of all commands as plain data: the parser, the help, the man page and the completion scripts are made from it.
import type { Flags } from '../config/overrides.ts'

type Switch = 'json' | 'offline' | 'live' | 'once' | 'show' | 'force' | 'csv' | 'companies'
type Recordings = 'record' | 'replay' | 'replayElseRecord'
type Text = 'url' | 'output' | 'secretEnv' | 'secretFile' | 'caller' | 'by' | 'format' | Recordings

/** The values of every flag that was given; each command reads its own. `timeout` is in milliseconds. */
export type Options = Flags &
  Readonly<Partial<Record<Switch, boolean>>> &
  Readonly<Partial<Record<Text, string>>> &
  Readonly<Partial<Record<'timeout' | 'loginPort' | 'apiPort', number>>> & {
    readonly header?: readonly string[]
  }

/** One flag. A value may be given once, unless the flag is repeatable. */
export interface OptionSpec {
  /** As in `-c, --config <file>`. */
  readonly flags: string
  /** One line for the help. */
  readonly about: string
  readonly choices?: readonly string[]
  /** What a shell offers for the value if there are no fixed choices. */
  readonly offers?: 'file' | 'folder'
  readonly repeatable?: true
  /** Reads the value; throws commander's InvalidArgumentError with what to write instead. */
  readonly parse?: (text: string) => unknown
  /** The value if the flag is missing. */
  readonly fallback?: unknown
  /** How the help shows the fallback, if differently. */
  readonly shown?: string
  /** Names of flags, in camel case, that exclude this one. */
  readonly conflicts?: readonly string[]
}

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

export const CONFIG: OptionSpec = {
  flags: '-c, --config <file>',
  about: 'configuration file',
  offers: 'file',
}
export const JSON_OUTPUT: OptionSpec = { flags: '--json', about: 'print JSON' }
export const LISTEN: OptionSpec = {
  flags: '-l, --listen <address>',
  about: 'address to listen on, such as 127.0.0.1:8377 (repeatable)',
  repeatable: true,
}
export const URL_OF_PROXY: OptionSpec = {
  flags: '--url <url>',
  about:
    'address of the running proxy, such as http://127.0.0.1:8377 or unix:/path (default: the configured one)',
}

/** The flags of commands that read a configuration; each beats the variable and the key of the same meaning. */
export const CONFIG_OPTIONS: readonly OptionSpec[] = [
  CONFIG,
  LISTEN,
  {
    flags: '--environment <name>',
    about: 'production, sandbox, monthly-sandbox, federal, or one that the file defines',
  },
  { flags: '--company-id <id>', about: 'id of the only company, for use without a file' },
  { flags: '--client-id <id>', about: 'client id of the only company, for use without a file' },
  { flags: '--log-level <level>', about: 'least severe log lines to write', choices: LEVELS },
  { flags: '--log-format <format>', about: 'format of log lines', choices: ['auto', 'json', 'readable'] },
]
