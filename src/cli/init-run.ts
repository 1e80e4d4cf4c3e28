// What `init` does: asks, tries the answers if wanted, writes the file, and says what to do next.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as clack from '@clack/prompts'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { VARIABLES } from '../config/overrides.ts'
import type { ConfigError } from '../config/problems.ts'
import { findConfigFile } from '../config/search.ts'
import { checkOnline, report } from './check-run.ts'
import { CommandError, EXIT } from './exit.ts'
import type { InitOptions } from './init.ts'
import {
  type Answers,
  checkCredential,
  checkOrigin,
  ENVIRONMENTS,
  guessEnvironment,
  readCompany,
} from './init-answers.ts'
import { checkFolder, configText, isThere, undisturbed, writeWhole } from './init-file.ts'

const NO_TERMINAL = `init asks questions, and there is no terminal to ask them on. Without one, either
  set PROCORE_COMPANY_ID, PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET (or PROCORE_CLIENT_SECRET_FILE); no file is needed then,
  or write a file: config/procore-proxy.sample.yaml shows one, and procore-proxy check --offline says what is wrong with it`

/** Thrown where the user presses Ctrl-C or Escape at a question. */
class Cancelled extends Error {}

export async function init(options: InitOptions): Promise<void> {
  if (!process.stdin.isTTY || !process.stdout.isTTY) throw new CommandError(NO_TERMINAL, EXIT.badConfig)
  if (options.secretEnv !== undefined && options.secretFile !== undefined) {
    throw new CommandError('--secret-env and --secret-file exclude each other: keep one', EXIT.badConfig)
  }
  const file = resolve(options.output)
  if (!options.force && (await isThere(file))) {
    const message = `${file} is there already: overwrite it with --force, or name another with --output FILE`
    throw new CommandError(message, EXIT.badConfig)
  }
  await checkFolder(file)
  clack.intro(`A configuration for one company, written to ${file}`)
  try {
    const answers = await tried(await ask(options))
    await writeWhole(file, configText(answers), options.force === true)
    clack.log.success(`Wrote ${file}, for you alone to read (mode 600).`)
    warnOfVariables()
    clack.outro(await nextSteps(file))
  } catch (error) {
    if (!(error instanceof Cancelled)) throw error
    clack.cancel('Stopped. Nothing was written.')
    process.exitCode = EXIT.failure
  }
}

/** The answer; Ctrl-C and Escape end everything. */
async function answered<T>(question: Promise<T>): Promise<Exclude<T, symbol>> {
  const answer = await question
  if (clack.isCancel(answer)) throw new Cancelled()
  return answer as Exclude<T, symbol>
}

async function ask(options: InitOptions): Promise<Answers> {
  const company = await answered(
    clack.text({
      message: 'Company: its id, or its address in the browser',
      placeholder: 'https://app.procore.com/7656/company/home/list',
      validate: (text) => {
        const id = readCompany(text)
        return id instanceof Error ? id : undefined
      },
    }),
  )
  const environment = await askEnvironment(guessEnvironment(company))
  return { companyId: String(readCompany(company)), environment, ...(await askAccount(options)) }
}

const CUSTOM = 'custom'

async function askEnvironment(guess: string | undefined): Promise<Answers['environment']> {
  const name = await answered(
    clack.select({
      message: 'Environment',
      initialValue: guess ?? 'production',
      options: [...ENVIRONMENTS, { value: CUSTOM, label: 'another', hint: 'a gateway or a test server' }],
    }),
  )
  if (name !== CUSTOM) return name
  const apiUrl = await answered(clack.text({ message: 'URL of its API', validate: checkOrigin }))
  const loginUrl = await answered(
    clack.text({ message: 'URL of its login server', initialValue: apiUrl, validate: checkOrigin }),
  )
  return { apiUrl: apiUrl.trim(), loginUrl: loginUrl.trim() }
}

async function askAccount(
  options: InitOptions,
  before = '',
): Promise<Pick<Answers, 'clientId' | 'clientSecret'>> {
  const id = await answered(
    clack.text({ message: 'Client id', initialValue: before, validate: checkCredential('client id') }),
  )
  return { clientId: id.trim(), clientSecret: await askSecret(options) }
}

async function askSecret({ secretEnv, secretFile }: InitOptions): Promise<Answers['clientSecret']> {
  if (secretEnv !== undefined) return { env: secretEnv }
  if (secretFile !== undefined) return { file: resolve(secretFile) }
  const secret = await answered(
    clack.password({ message: 'Client secret (not shown)', validate: checkCredential('client secret') }),
  )
  return secret.trim()
}

/** Tries the answers as often as the user wants to mend them. */
async function tried(first: Answers): Promise<Answers> {
  let answers = first
  for (;;) {
    const config = await configOf(answers)
    if (config === undefined) return answers
    const wanted = await answered(
      clack.confirm({ message: 'Check them now? (gets a token, calls /rest/v1.0/me)' }),
    )
    if (!wanted) return answers
    const findings = await checkOnline(config, config.companies, false)
    const isGood = findings.every(({ ok }) => ok)
    const text = report({ ...config, file: 'your answers' }, findings, false).trimEnd()
    if (isGood) clack.log.success(text)
    else clack.log.error(text)
    if (isGood) return answers
    const mend = await answered(
      clack.select({
        message: 'What now?',
        options: [
          { value: 'account', label: 'enter client id and secret again' },
          { value: 'all', label: 'enter everything again' },
          { value: 'write', label: 'write the file as it is', hint: 'where Procore’s side has to be mended' },
        ],
      }),
    )
    if (mend === 'write') return answers
    const options = optionsOf(answers)
    answers =
      mend === 'all' ? await ask(options) : { ...answers, ...(await askAccount(options, answers.clientId)) }
  }
}

/** Where the secret was to be kept, for a second round of questions. */
function optionsOf({ clientSecret }: Answers): InitOptions {
  if (typeof clientSecret === 'string') return { output: '' }
  return 'env' in clientSecret
    ? { output: '', secretEnv: clientSecret.env }
    : { output: '', secretFile: clientSecret.file }
}

/** What the file will mean, read by the program's own reader; undefined where the secret is not there yet. */
async function configOf(answers: Answers): Promise<Config | undefined> {
  return undisturbed(async () => {
    let config: Config | undefined
    const folder = await mkdtemp(join(tmpdir(), 'procore-proxy-init-'))
    try {
      const draft = join(folder, 'draft.yaml')
      await writeFile(draft, configText(answers), { mode: 0o600 })
      const { clientSecret } = answers
      const name = typeof clientSecret === 'object' && 'env' in clientSecret ? clientSecret.env : ''
      const env = { ...withoutProcore(process.env), [name]: process.env[name] }
      config = await loadConfig({ flags: { config: draft }, env, cwd: process.cwd() }).catch(sayWhyNot)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
    return config
  })
}

function sayWhyNot({ problems }: ConfigError): undefined {
  const why = problems.map(({ key, message, fix }) => `${key}: ${message}. ${fix}`).join('\n')
  clack.log.warn(`It can't be checked yet:\n${why}`)
}

/** The file alone is tried; variables such as HTTPS_PROXY still count. */
function withoutProcore(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('PROCORE_')))
}

/** Variables beat the file: whoever has some set would wonder. */
function warnOfVariables(): void {
  const set = VARIABLES.map(({ variable }) => variable).filter(
    (name) => name !== 'PROCORE_PROXY_CONFIG' && (process.env[name] ?? '').trim() !== '',
  )
  if (set.length > 0) clack.log.warn(`Set here, and stronger than the file: ${set.join(', ')}.`)
}

async function nextSteps(file: string): Promise<string> {
  const found = await findConfigFile({ flag: undefined, env: process.env, cwd: process.cwd() })
  const flag =
    found?.path === file ? '' : ` --config ${/^[\w./@:+-]+$/.test(file) ? file : JSON.stringify(file)}`
  const program = programName(import.meta.url)
  return `Next:
   ${program} check${flag}
   ${program} start${flag}
   curl http://127.0.0.1:8377/rest/v1.0/me`
}

/** What starts this program: it runs from its sources in a clone, and compiled where it is installed. */
export function programName(url: string): string {
  return url.endsWith('.ts') ? 'npm run proxy --' : 'procore-proxy'
}
