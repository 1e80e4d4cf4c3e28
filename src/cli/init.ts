// The command `init`: asks for an account, tries it if wanted, writes the configuration file, and says what to do next.
import { existsSync } from 'node:fs'
import { access, constants, lstat, mkdir, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import * as clack from '@clack/prompts'
import type { z } from 'zod/mini'
import type { Access, Config } from '../config/config.ts'
import { findConfigFile } from '../config/files.ts'
import { loadConfig } from '../config/load.ts'
import { readCompanyId } from '../config/overrides.ts'
import type { ConfigError } from '../config/problems.ts'
import { SCHEMA_FILE } from '../config/schema.ts'
import { origin } from '../config/schema-values.ts'
import { checkOnline, reportChecks } from './check.ts'
import type { Options } from './commands.ts'
import { CommandError, EXIT, usageError } from './exit.ts'

const NO_TERMINAL = `init asks questions, and there is no terminal to ask them on. Instead, either
  set PROCORE_COMPANY_ID, PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET (or PROCORE_CLIENT_SECRET_FILE); no file is needed then,
  or write a file: config/procore-proxy.sample.yaml shows one, and procore-proxy check --offline says what is wrong with it`

export async function init(options: Options): Promise<void> {
  if (!process.stdin.isTTY || !process.stdout.isTTY) throw usageError(NO_TERMINAL)
  if (options.secretEnv !== undefined && options.secretFile !== undefined) {
    throw usageError('--secret-env and --secret-file exclude each other: keep one')
  }
  const force = options.force === true
  const file = resolve(options.output ?? 'procore-proxy.yaml')
  await checkPlace(file, force)
  clack.intro(`A configuration for one company, written to ${file}`)
  try {
    const answers = await tried(await askAll(options), options)
    await writeWhole(file, configText(answers), force)
    clack.log.success(`Wrote ${file}. Only you can read it (mode 600).`)
    // Users are surprised by variables that they have forgotten.
    const set = Object.keys(process.env).filter(
      (name) => /^PROCORE_(?!PROXY_(?:CONFIG|KEY)$)/.test(name) && process.env[name]?.trim(),
    )
    if (set.length > 0) {
      clack.log.warn(`These variables are set and take precedence over the file: ${set.join(', ')}.`)
    }
    clack.outro(nextSteps(file))
  } catch (error) {
    if (!(error instanceof Cancelled)) throw error
    clack.cancel('Stopped. Nothing was written.')
    process.exitCode = EXIT.failure
  }
}

/** Tries the answers, and asks again as often as the user wants to change them. */
async function tried(first: Answers, options: Options): Promise<Answers> {
  let answers = first
  for (;;) {
    const config = await configOf(answers)
    if (config === undefined) return answers
    const message = 'Check them now? (gets a token, calls /rest/v1.0/me)'
    if (!(await answered(clack.confirm({ message })))) return answers
    const findings = await checkOnline(config, config.companies, config.accounts)
    const text = reportChecks({ ...config, file: 'your answers' }, findings, false).trimEnd()
    if (findings.every(({ ok }) => ok)) {
      clack.log.success(text)
      return answers
    }
    clack.log.error(text)
    const next = await choose('What now?', [
      { value: 'account', label: 'enter client id and secret again' },
      { value: 'all', label: 'enter everything again' },
      { value: 'write', label: 'write the file as it is', hint: 'if the fix is on Procore’s side' },
    ])
    if (next === 'write') return answers
    if (next === 'all') answers = await askAll(options)
    else answers = { ...answers, ...(await askAccount(options, answers.clientId)) }
  }
}

/** The configuration that the file will give; undefined if the secret is not available yet. */
async function configOf(answers: Answers): Promise<Config | undefined> {
  const { clientSecret } = answers
  const secretName = typeof clientSecret === 'object' && 'env' in clientSecret ? clientSecret.env : undefined
  // Only the file is tried. Variables such as HTTPS_PROXY still apply.
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('PROCORE_') || name === secretName,
  )
  const env = Object.fromEntries(kept)
  return loadConfig({ flags: {}, env, cwd: process.cwd(), text: configText(answers) }).catch(warnOfProblems)
}

function warnOfProblems({ problems }: ConfigError): undefined {
  const why = problems.map(({ key, message, fix }) => `${key}: ${message}. ${fix}`).join('\n')
  clack.log.warn(`It cannot be checked yet:\n${why}`)
}

function nextSteps(file: string): string {
  const found = findConfigFile({ flag: undefined, env: process.env, cwd: process.cwd() })
  const shown = /^[\w./@:+-]+$/.test(file) ? file : JSON.stringify(file)
  const flag = found?.path === file ? '' : ` --config ${shown}`
  const program = programName(import.meta.url)
  return `Next:
   ${program} check${flag}
   ${program} start${flag}
   curl http://127.0.0.1:8377/rest/v1.0/me`
}

/** The command that starts this program: from its sources in a clone, or as an installed program. */
export function programName(url: string): string {
  return url.endsWith('.ts') ? 'npm run proxy --' : 'procore-proxy'
}

/** Everything that the file is written from. */
interface Answers {
  readonly companyId: string
  readonly access: Access
  /** The name of a built-in environment, or one of the user's own. */
  readonly environment: string | { readonly apiUrl: string; readonly loginUrl: string }
  readonly clientId: string
  readonly clientSecret: string | { readonly env: string } | { readonly file: string }
}

/** Thrown if the user presses Ctrl-C or Escape at a question. */
class Cancelled extends Error {}

async function answered<T>(question: Promise<T>): Promise<Exclude<T, symbol>> {
  const answer = await question
  if (clack.isCancel(answer)) throw new Cancelled()
  return answer as Exclude<T, symbol>
}

function choose<T extends string>(message: string, options: clack.Option<T>[], guess?: T): Promise<T> {
  return answered(clack.select<T>({ message, options, ...(guess && { initialValue: guess }) }))
}

async function askAll(options: Options): Promise<Answers> {
  const company = await answered(
    clack.text({
      message: 'Company: its id, or its address in the browser',
      placeholder: 'https://app.procore.com/7656/company/home/list',
      validate: checkCompany,
    }),
  )
  const environment = await askEnvironment(guessEnvironment(company))
  const account = await askAccount(options)
  const access = await choose<Access>('What may tools do in this company?', [
    { value: 'read-only', label: 'only read', hint: 'recommended; you can change it in the file' },
    { value: 'read-write', label: 'read and write' },
  ])
  return { companyId: readCompanyId(company) ?? '', access, environment, ...account }
}

/** Asks for client id and secret. An empty answer keeps the client id that was given before. */
async function askAccount(
  { secretEnv, secretFile }: Options,
  before?: string,
): Promise<Pick<Answers, 'clientId' | 'clientSecret'>> {
  const id = await askText('Client id', checkCredential('client id'), before)
  if (secretEnv !== undefined) return { clientId: id, clientSecret: { env: secretEnv } }
  if (secretFile !== undefined) return { clientId: id, clientSecret: { file: resolve(secretFile) } }
  const validate = checkCredential('client secret')
  const secret = await answered(clack.password({ message: 'Client secret (not shown)', validate }))
  return { clientId: id, clientSecret: secret.trim() }
}

type Validate = (answer: string | undefined) => Error | undefined

/** Nothing is prefilled, because a pasted answer would be appended to it. An empty answer means `before`. */
async function askText(question: string, validate: Validate, before = ''): Promise<string> {
  const answer = await answered(
    clack.text({
      message: before ? `${question} (Enter keeps ${before})` : question,
      ...(before && { placeholder: before, defaultValue: before }),
      validate: (text = '') => (before && text.trim() === '' ? undefined : validate(text)),
    }),
  )
  return answer.trim() || before
}

/** Procore's environments, each with a few words. */
export const ENVIRONMENTS = [
  { value: 'production', hint: 'app.procore.com, us02.procore.com and so on; On-Demand Sandboxes too' },
  { value: 'sandbox', hint: 'Developer Sandbox: sandbox.procore.com, with credentials of its own' },
  { value: 'monthly-sandbox', hint: 'takes production credentials' },
  { value: 'federal', hint: 'procoregov.com' },
]

async function askEnvironment(guess: string | undefined): Promise<Answers['environment']> {
  const custom = { value: 'custom', label: 'another', hint: 'a gateway or a test server' }
  const name = await choose('Environment', [...ENVIRONMENTS, custom], guess)
  if (name !== 'custom') return name
  const apiUrl = await askText('URL of its API', checkOrigin)
  return { apiUrl, loginUrl: await askText('URL of its login server', checkOrigin, apiUrl) }
}

/** The environment whose web pages have this address; undefined for a bare id. */
export function guessEnvironment(answer: string): string | undefined {
  const host = /([\w.-]+\.\w+)\//.exec(answer)?.[1]?.toLowerCase() ?? ''
  if (host.endsWith('.procoregov.com')) return 'federal'
  if (!host.endsWith('.procore.com')) return undefined
  if (host.includes('monthly')) return 'monthly-sandbox'
  return host.startsWith('sandbox.') ? 'sandbox' : 'production'
}

/** Returns an Error if the text names no company. */
export function checkCompany(answer: string | undefined): Error | undefined {
  const help =
    "Write the digits of the id, or paste the address that the browser shows on the company's home page."
  return readCompanyId(answer ?? '') === undefined ? new Error(help) : undefined
}

/** Returns an Error if the text is not an origin that the proxy could log in to. */
export function checkOrigin(answer: string | undefined): Error | undefined {
  const schema: z.ZodMiniType = origin
  const [message, fix] = schema.safeParse((answer ?? '').trim()).error?.issues[0]?.message.split('\n') ?? []
  return message === undefined ? undefined : new Error(`${message}. ${fix}.`)
}

/** Returns an Error if the text cannot be a client id or secret: it is empty, or contains spaces from pasting. */
export function checkCredential(what: string): Validate {
  return (answer) => {
    const text = (answer ?? '').trim()
    if (text === '') return new Error(`Write the ${what}: the app's page at developers.procore.com shows it.`)
    if (/\s/.test(text)) return new Error(`A ${what} contains no spaces: copy it again.`)
    return undefined
  }
}

/** A commented configuration for one company. JSON strings are valid YAML. */
function configText({ companyId, access, environment, clientId, clientSecret }: Answers): string {
  const custom = typeof environment === 'string' ? undefined : environment
  const isPlain = typeof clientSecret === 'string'
  const source = isPlain ? JSON.stringify(clientSecret) : mapOf(clientSecret)
  return `# yaml-language-server: $schema=./${SCHEMA_FILE}
# Written by procore-proxy init. All keys: docs/configuration.md. For completion in an editor:
# procore-proxy schema > ${SCHEMA_FILE}
# ${isPlain ? 'It contains a secret: keep it readable for you alone (chmod 600), and out of version control.' : 'The secret is kept elsewhere.'}
# A running proxy takes over changes by itself. procore-proxy check tries them.

# Tools on this machine call http://127.0.0.1:8377.
listen: 127.0.0.1:8377

# production (On-Demand Sandboxes too), sandbox, monthly-sandbox, federal, or one of your own.
environment: ${custom ? 'custom' : environment}
${custom ? `environments:\n  custom: ${mapOf(custom)}\n` : ''}
companies:
  # The name is yours. It is used in URLs (/main/rest/v1.0/me), logs and metrics.
  main:
    id: ${JSON.stringify(companyId)}
    # read-only lets GET, HEAD and OPTIONS through; read-write lets writes through too.
    access: ${access}
    serviceAccount:
      clientId: ${JSON.stringify(clientId)}
      # A variable, another file or a program can hold it instead: { env: NAME }, { file: PATH }, { command: [PROGRAM] }
      clientSecret: ${source}
  # Add another company here, with a name, an id and a serviceAccount of its own. If one account serves several
  # companies, move it to \`serviceAccounts\` and name it in each company.
`
}

function mapOf(values: object): string {
  const pairs = Object.entries(values).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  return `{ ${pairs.join(', ')} }`
}

/** Refuses a path that cannot be written, before any question is asked. */
async function checkPlace(file: string, force: boolean): Promise<void> {
  const there = await lstat(file).catch(() => undefined)
  if (there?.isDirectory()) throw usageError(`${file} is a folder: name a file with --output FILE`)
  if (there !== undefined && !force) {
    throw usageError(`${file} exists: overwrite it with --force, or name another with --output FILE`)
  }
  let folder = dirname(file)
  while (!existsSync(folder)) folder = dirname(folder)
  // With a slash, because it might be a file.
  await access(`${folder}/`, constants.W_OK | constants.X_OK).catch(cannotWrite(file))
}

/** Writes the file with mode 600, whole or not at all. With `force`, an old file is only ever replaced by a complete one. */
async function writeWhole(file: string, text: string, force: boolean): Promise<void> {
  // The target of a link is replaced, not the link.
  const target = force ? await realpath(file).catch(() => file) : file
  const written = force ? `${target}.${process.pid}.tmp` : target
  try {
    await mkdir(dirname(written), { recursive: true, mode: 0o700 })
    await writeFile(written, text, { mode: 0o600, flag: 'wx', flush: true })
    if (force) await rename(written, target)
  } catch (error) {
    const reason = error as NodeJS.ErrnoException
    if (force || reason.code !== 'EEXIST') await rm(written, { force: true })
    cannotWrite(file)(reason)
  }
}

const cannotWrite =
  (file: string) =>
  ({ code }: NodeJS.ErrnoException): never => {
    const fix = 'check its folder, or name another file with --output FILE'
    throw new CommandError(`${file} cannot be written (${code}): ${fix}`)
  }
