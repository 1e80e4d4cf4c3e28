// The command `init`: asks for an account, tries it if wanted, writes the configuration file, and says what to do next.
import { resolve } from 'node:path'
import * as clack from '@clack/prompts'
import type { Config } from '../config/config.ts'
import { findConfigFile } from '../config/files.ts'
import { loadConfig } from '../config/load.ts'
import type { ConfigError } from '../config/problems.ts'
import { checkOnline, reportChecks } from './check.ts'
import { withDraft } from './config.ts'
import { EXIT, usageError } from './exit.ts'
import { checkPlace, configText, undisturbed, writeWhole } from './init-file.ts'
import { type Answers, answered, askAccount, askAll, Cancelled } from './init-questions.ts'
import type { Options } from './options.ts'

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
    warnOfVariables()
    clack.outro(await nextSteps(file))
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
    const isWanted = await answered(
      clack.confirm({ message: 'Check them now? (gets a token, calls /rest/v1.0/me)' }),
    )
    if (!isWanted) return answers
    const findings = await checkOnline(config, config.companies, config.accounts)
    const text = reportChecks({ ...config, file: 'your answers' }, findings, false).trimEnd()
    if (findings.every(({ ok }) => ok)) {
      clack.log.success(text)
      return answers
    }
    clack.log.error(text)
    const next = await askWhatNow()
    if (next === 'write') return answers
    if (next === 'all') answers = await askAll(options)
    else answers = { ...answers, ...(await askAccount(options, answers.clientId)) }
  }
}

function askWhatNow() {
  return answered(
    clack.select({
      message: 'What now?',
      options: [
        { value: 'account' as const, label: 'enter client id and secret again' },
        { value: 'all' as const, label: 'enter everything again' },
        {
          value: 'write' as const,
          label: 'write the file as it is',
          hint: 'if the fix is on Procore’s side',
        },
      ],
    }),
  )
}

/** The configuration that the file will give; undefined if the secret is not available yet. */
async function configOf(answers: Answers): Promise<Config | undefined> {
  const { clientSecret } = answers
  const secretName = typeof clientSecret === 'object' && 'env' in clientSecret ? clientSecret.env : undefined
  // Only the file is tried. Variables such as HTTPS_PROXY still apply.
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('PROCORE_') || name === secretName,
  )
  const flags = (config: string) => ({ flags: { config }, env: Object.fromEntries(kept), cwd: process.cwd() })
  return undisturbed(() =>
    withDraft(configText(answers), (file) => loadConfig(flags(file)).catch(warnOfProblems)),
  )
}

function warnOfProblems({ problems }: ConfigError): undefined {
  const why = problems.map(({ key, message, fix }) => `${key}: ${message}. ${fix}`).join('\n')
  clack.log.warn(`It cannot be checked yet:\n${why}`)
}

/** Variables take precedence over the file, which surprises users who have forgotten that they set them. */
function warnOfVariables(): void {
  const set = Object.keys(process.env).filter(
    (name) => /^PROCORE_(?!PROXY_(?:CONFIG|KEY)$)/.test(name) && (process.env[name] ?? '').trim() !== '',
  )
  if (set.length === 0) return
  clack.log.warn(`These variables are set and take precedence over the file: ${set.join(', ')}.`)
}

async function nextSteps(file: string): Promise<string> {
  const found = await findConfigFile({ flag: undefined, env: process.env, cwd: process.cwd() })
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
