// The table of commands. The parser, the help, the man page and the completion scripts are made from it.
import { Argument, InvalidArgumentError, Option } from 'commander'
import ms, { type StringValue } from 'ms'
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

/** One command. The texts are complete sentences, except for the summary in the list of commands. */
export interface CommandSpec {
  readonly name: string
  readonly group: string
  readonly summary: string
  readonly about: string
  /** Shells offer companies, methods, files and folders for values with these names. */
  readonly arguments?: readonly Argument[]
  readonly options?: readonly Option[]
  readonly examples: readonly string[]
  readonly variables?: readonly string[]
  /** When each exit status occurs; empty if it does not. */
  readonly exits: readonly string[]
  /** The pages of the documentation. */
  readonly docs: string
  /** Left out of the help. */
  readonly hidden?: true
  /** Loads the command and runs it, so that a start loads nothing that it does not need. */
  readonly run: (words: readonly string[], options: Options) => Promise<void>
}

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const

const RUN = 'Run the proxy:'
const SET_UP = 'Set it up:'
const USE = 'Use it from a shell:'

const ACCOUNT = [
  'PROCORE_COMPANY_ID, PROCORE_CLIENT_ID, PROCORE_CLIENT_SECRET or PROCORE_CLIENT_SECRET_FILE:',
  '  one company without a configuration file',
  'PROCORE_ENVIRONMENT, or PROCORE_API_URL with PROCORE_LOGIN_URL: where that company is',
  'PROCORE_PROXY_CONFIG: the configuration file',
  'HTTPS_PROXY, NO_PROXY, NODE_EXTRA_CA_CERTS: how Procore is reached',
]
const CONFIG_FILE = ['PROCORE_PROXY_CONFIG: the configuration file']
const BAD_CONFIG = 'The configuration or the command line is wrong.'

const CONFIG = option('-c, --config <file>', 'configuration file')
const JSON_OUTPUT = option('--json', 'print JSON')
const URL_OF_PROXY = option(
  '--url <url>',
  'address of the running proxy, such as http://127.0.0.1:8377 or unix:/path (default: the configured one)',
)
/** The flags of commands that read a configuration; each beats the variable and the key of the same meaning. */
const CONFIG_OPTIONS = [
  CONFIG,
  option('-l, --listen <address>', 'address to listen on, such as 127.0.0.1:8377 (repeatable)').argParser(
    collect,
  ),
  option(
    '--environment <name>',
    'production, sandbox, monthly-sandbox, federal, or one that the file defines',
  ),
  option('--company-id <id>', 'id of the only company, for use without a file'),
  option('--client-id <id>', 'client id of the only company, for use without a file'),
  option('--log-level <level>', 'least severe log lines to write').choices([
    'fatal',
    'error',
    'warn',
    'info',
    'debug',
    'trace',
    'silent',
  ]),
  option('--log-format <format>', 'format of log lines').choices(['auto', 'json', 'readable']),
]

export const COMMANDS: readonly CommandSpec[] = [
  command(RUN, 'start', 'run the proxy (the default command)', {
    about: `Runs the proxy in the foreground and prints each address that it listens on. It takes over a changed configuration or secret file by itself, and on SIGHUP. SIGTERM and SIGINT let the requests under way end first. With --record it also writes what passes to a folder; with --replay it answers from such a folder and connects to nothing.`,
    options: [
      ...CONFIG_OPTIONS,
      recording('--record', 'write all requests and responses to this folder'),
      recording('--replay', 'answer from the recordings in this folder only'),
      recording('--replay-else-record', 'answer from this folder, and record what is missing'),
    ],
    examples: [
      'procore-proxy start --config procore-proxy.yaml',
      'procore-proxy start --replay test/recordings --listen 127.0.0.1:0',
    ],
    variables: [...ACCOUNT, 'PROCORE_PROXY_LISTEN, PROCORE_PROXY_LOG_LEVEL: as --listen and --log-level'],
    exits: ['It stopped after a signal, and no request was cut off.', 'Anything else.', BAD_CONFIG],
    docs: 'docs/operations.md, docs/recordings.md',
    run: async (_, given) => (await import('./start.ts')).start(given),
  }),
  command(RUN, 'demo', 'try the proxy with a fake Procore; no account needed', {
    about: `Starts a fake Procore and the proxy in front of it, makes a few calls, and shows for each what was sent, what Procore received and what came back. It then stays up for calls of your own. Nothing leaves this machine.`,
    options: [
      option('--once', 'end after the calls'),
      option(
        '-l, --listen <address>',
        'address of the proxy (default: 127.0.0.1:8377, or a free port)',
      ).argParser((text) => [text]),
    ],
    examples: ['procore-proxy demo', 'procore-proxy demo --once'],
    exits: ['It ended by itself or by a signal.', 'It could not start.', 'The address is wrong.'],
    docs: 'docs/workstation.md',
    run: async (_, given) => (await import('./demo.ts')).demo(given),
  }),
  command(SET_UP, 'init', 'ask for an account and write a configuration file', {
    about: `Asks for a company, a client id and a client secret, tries them if you want, and writes a configuration file that only you can read. The company is read-only unless you choose otherwise. It needs a terminal.`,
    options: [
      option('-o, --output <file>', 'file to write').default('procore-proxy.yaml', 'procore-proxy.yaml'),
      option('-f, --force', 'overwrite the file if it exists'),
      option('--secret-env <name>', 'read the secret from this variable instead of the file'),
      option('--secret-file <file>', 'read the secret from this other file'),
    ],
    examples: ['procore-proxy init', 'procore-proxy init --output ~/.config/procore-proxy/config.yaml'],
    exits: [
      'The file was written.',
      'It was stopped, or the file cannot be written.',
      'It could not ask, or the file exists.',
    ],
    docs: 'docs/legacy-tool.md',
    run: async (_, given) => (await import('./init.ts')).init(given),
  }),
  command(SET_UP, 'check', 'try the configuration, and say how to fix what fails', {
    about: `Reads the configuration, gets a token for each service account, calls /rest/v1.0/me for each company, and prints a table. For each failure it says what to do. With company names or ids, only these companies are checked.`,
    arguments: [new Argument('[company...]', 'names or ids (default: all)')],
    options: [
      ...CONFIG_OPTIONS,
      option('--offline', 'stop after the configuration, and connect to nothing'),
      JSON_OUTPUT,
    ],
    examples: ['procore-proxy check', 'procore-proxy check acme --json', 'procore-proxy check --offline'],
    variables: ACCOUNT,
    exits: ['All is good.', 'A check failed.', BAD_CONFIG],
    docs: 'docs/errors.md',
    run: async (names, given) => (await import('./check.ts')).check(names, given),
  }),
  command(SET_UP, 'explain', 'say what the proxy would do with a request, without sending it', {
    about: `Prints which company a request would be for and why, the URL and headers that Procore would get, and whether the request is allowed. Nothing is sent and no secret is read. The URL may be a path, an address of the proxy, or an address of Procore's API.`,
    arguments: [
      new Argument('<method>', 'such as GET'),
      new Argument(
        '<url>',
        '/acme/rest/v1.0/me, http://acme.localhost:8377/rest/v1.0/me, or https://api.procore.com/rest/v1.0/me',
      ),
    ],
    options: [
      ...CONFIG_OPTIONS,
      option('-H, --header <line>', "header that the caller sends, 'Name: value' (repeatable)").argParser(
        collect,
      ),
      option('--caller <name>', 'caller that sends it, one of `callers` in the configuration'),
      JSON_OUTPUT,
    ],
    examples: [
      'procore-proxy explain GET /acme/rest/v1.0/projects',
      'procore-proxy explain POST /rest/v1.0/projects --caller excel --header "Procore-Company-Id: 7656"',
    ],
    variables: CONFIG_FILE,
    exits: ['The request would be forwarded.', 'It would be refused.', BAD_CONFIG],
    docs: 'docs/configuration.md',
    run: async ([method = '', url = ''], given) => (await import('./explain.ts')).explain(method, url, given),
  }),
  command(SET_UP, 'key', 'make a key for a caller', {
    about: `Makes a random key for a caller and prints the lines to paste into the configuration. The key is printed this once and stored nowhere.`,
    arguments: [new Argument('<name>', "the caller's name, such as excel")],
    examples: ['procore-proxy key excel'],
    exits: ['The key was printed.', '', 'The name is not valid.'],
    docs: 'docs/callers.md',
    run: async ([name = '']) => (await import('./key.ts')).key(name),
  }),
  command(SET_UP, 'schema', 'print the JSON Schema of the configuration file', {
    about: `Prints the JSON Schema of the configuration file, for editors and other programs.`,
    examples: ['procore-proxy schema > procore-proxy.schema.json'],
    exits: ['The schema was printed.'],
    docs: 'docs/configuration.md',
    run: async () => {
      const file = await import('../../config/procore-proxy.schema.json', { with: { type: 'json' } })
      process.stdout.write(`${JSON.stringify(file.default, null, 2)}\n`)
    },
  }),
  command(SET_UP, 'completion', 'print a script that completes commands in your shell', {
    about: `Prints a script that completes commands, flags, their values, files and company names when you press Tab. Load it in the start-up file of your shell.`,
    arguments: [new Argument('[shell]', 'the shell').choices(SHELLS)],
    options: [option('--companies', 'print the names of the configured companies instead'), CONFIG],
    examples: ['source <(procore-proxy completion bash)', 'procore-proxy completion fish | source'],
    variables: CONFIG_FILE,
    exits: ['The script was printed.', '', 'There is no script for this shell.'],
    docs: 'docs/workstation.md',
    run: async ([shell], given) => (await import('./completion.ts')).completion(shell, given),
  }),
  command(USE, 'status', "show a running proxy's companies, tokens, budgets and last errors", {
    about: `Asks a running proxy for its status and prints it. Where the proxy requires a key, one is taken from PROCORE_PROXY_KEY or, without --url, from the configuration.`,
    options: [URL_OF_PROXY, CONFIG, JSON_OUTPUT],
    examples: ['procore-proxy status', 'procore-proxy status --url http://127.0.0.1:9000 --json'],
    variables: [...CONFIG_FILE, 'PROCORE_PROXY_KEY: a key for the proxy'],
    exits: ['The status was printed.', 'The proxy does not answer.', BAD_CONFIG],
    docs: 'docs/operations.md',
    run: async (_, given) => (await import('./status.ts')).status(given),
  }),
  command(USE, 'wait', 'return when a proxy is ready', {
    about: `Returns as soon as the proxy listens and has tried to get its tokens. Use it in start-up scripts and as a health check.`,
    options: [
      URL_OF_PROXY,
      CONFIG,
      option('--live', 'only wait until it answers at all; for liveness probes'),
      option('--timeout <duration>', 'how long to wait, such as 500ms, 30s or 2m')
        .argParser(duration)
        .default(30_000, '30s'),
    ],
    examples: ['procore-proxy wait --timeout 60s && run-the-import'],
    variables: CONFIG_FILE,
    exits: ['The proxy is ready.', 'It is not ready in time.', BAD_CONFIG],
    docs: 'docs/sidecar.md',
    run: async (_, given) => (await import('./wait.ts')).wait(given),
  }),
  command(USE, 'token', 'print a fresh access token', {
    about: `Gets a fresh access token for a company and prints nothing else, for a tool that can send a token but not get one. Such a tool bypasses the proxy and its rules. On a terminal the token is printed only with --show.`,
    arguments: [new Argument('<company>', 'name or id')],
    options: [...CONFIG_OPTIONS, option('--show', 'print it on a terminal too')],
    examples: ['TOKEN=$(procore-proxy token acme)'],
    variables: ACCOUNT,
    exits: ['The token was printed.', 'There is no token.', BAD_CONFIG],
    docs: 'docs/workstation.md',
    run: async ([company = ''], given) => (await import('./check.ts')).token(company, given),
  }),
  command(USE, 'list', 'write a whole list of the API as CSV, NDJSON or JSON', {
    about: `Reads all pages of a list and writes them as one, without a running proxy. A * for the project id reads the list of every project. On a terminal it shows its progress. A file appears only when the whole list has been read; projects that Procore or the rules refuse are named and missing.`,
    arguments: [new Argument('<path>', 'path of the list, such as /acme/rest/v1.0/projects/*/rfis')],
    options: [
      ...CONFIG_OPTIONS,
      option('--format <format>', 'format of the output')
        .choices(['csv', 'ndjson', 'json'])
        .default('csv', 'csv'),
      option('-o, --output <file>', 'file to write (default: standard output)'),
    ],
    examples: ["procore-proxy list '/acme/rest/v1.0/projects/*/rfis' --format csv --output rfis.csv"],
    variables: ACCOUNT,
    exits: ['The list is complete.', 'Anything is missing.', BAD_CONFIG],
    docs: 'docs/lists.md',
    run: async ([path = ''], given) => (await import('./list.ts')).list(path, given),
  }),
  command(USE, 'usage', 'add up an audit file', {
    about: `Adds up the lines of an audit file (\`audit.file\` in the configuration) and prints a table. Ids in paths are shown as {id}.`,
    arguments: [new Argument('<file>', 'the audit file')],
    options: [
      option(
        '--by <columns>',
        'what to group by: some of caller, route, status and day, separated by commas',
      ).default('caller,route,status', 'caller,route,status'),
      option('--csv', 'print CSV'),
    ],
    examples: [
      'procore-proxy usage audit.jsonl',
      'procore-proxy usage audit.jsonl --by day,caller --csv > usage.csv',
    ],
    exits: ['The table was printed.', 'The file cannot be read.', 'A column is unknown.'],
    docs: 'docs/callers.md',
    run: async ([file = ''], given) => (await import('./usage.ts')).usage(file, given),
  }),
  command(RUN, 'fake', 'start the fake Procore alone', {
    about: `Starts the fake Procore alone, on loopback, and prints the variables for a proxy in front of it.`,
    options: [
      option('--login-port <port>', 'port of the login server').argParser(portNumber).default(9001),
      option('--api-port <port>', 'port of the API').argParser(portNumber).default(9002),
    ],
    examples: ['procore-proxy fake --login-port 0 --api-port 0'],
    exits: ['It ended by a signal.', 'A port is taken.', 'A port is not valid.'],
    docs: 'docs/workstation.md',
    hidden: true,
    run: async (_, given) => (await import('./demo.ts')).fake(given),
  }),
]

/** One command; `more` has its other properties. */
function command(
  group: string,
  name: string,
  summary: string,
  more: Omit<CommandSpec, 'group' | 'name' | 'summary'>,
): CommandSpec {
  return { group, name, summary, ...more }
}

function option(flags: string, about: string): Option {
  return new Option(flags, about)
}

/** Reads a flag that may be repeated. Any other may be given once. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}

/** A flag that excludes the others of its kind. */
function recording(flag: string, about: string): Option {
  const all = { '--record': 'record', '--replay': 'replay', '--replay-else-record': 'replayElseRecord' }
  const others = Object.entries(all).flatMap(([other, name]) => (other === flag ? [] : [name]))
  return option(`${flag} <folder>`, about).conflicts(others)
}

function portNumber(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new InvalidArgumentError('Write a port: 0 (any free one) to 65535.')
}

/** Milliseconds of `30s`, `500ms`, `2m`; at most 24 days, because Node's timers fire immediately if they are given more. */
function duration(text: string): number {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(text)) return Math.min(ms(text as StringValue), 2 ** 31 - 1)
  throw new InvalidArgumentError('Write a duration such as 30s or 500ms.')
}
