// Asks the questions of `init` on a terminal and validates the answers.
import { resolve } from 'node:path'
import * as clack from '@clack/prompts'
import type { z } from 'zod/mini'
import type { Access } from '../config/config.ts'
import { readCompanyId } from '../config/overrides.ts'
import { origin } from '../config/schema-values.ts'
import type { Options } from './options.ts'

/** Everything that the file is written from. */
export interface Answers {
  readonly companyId: string
  readonly access: Access
  /** The name of a built-in environment, or one of the user's own. */
  readonly environment: string | { readonly apiUrl: string; readonly loginUrl: string }
  readonly clientId: string
  readonly clientSecret: string | { readonly env: string } | { readonly file: string }
}

/** Thrown if the user presses Ctrl-C or Escape at a question. */
export class Cancelled extends Error {}

/** The answer to a question asked with clack; throws {@link Cancelled}. */
export async function answered<T>(question: Promise<T>): Promise<Exclude<T, symbol>> {
  const answer = await question
  if (clack.isCancel(answer)) throw new Cancelled()
  return answer as Exclude<T, symbol>
}

/** Asks all questions. */
export async function askAll(options: Options): Promise<Answers> {
  const company = await answered(
    clack.text({
      message: 'Company: its id, or its address in the browser',
      placeholder: 'https://app.procore.com/7656/company/home/list',
      validate: checkCompany,
    }),
  )
  const reading = readCompanyId(company)
  const environment = await askEnvironment(guessEnvironment(company))
  const account = await askAccount(options)
  const access = await answered(
    clack.select<Access>({
      message: 'What may tools do in this company?',
      options: [
        { value: 'read-only', label: 'only read', hint: 'recommended; you can change it in the file' },
        { value: 'read-write', label: 'read and write' },
      ],
    }),
  )
  return { companyId: 'id' in reading ? reading.id : '', access, environment, ...account }
}

/** Asks for client id and secret. An empty answer keeps the client id that was given before. */
export async function askAccount(
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
async function askText(question: string, validate: Validate, before?: string): Promise<string> {
  if (before === undefined) return (await answered(clack.text({ message: question, validate }))).trim()
  const answer = await answered(
    clack.text({
      message: `${question} (Enter keeps ${before})`,
      placeholder: before,
      defaultValue: before,
      validate: (text) => ((text ?? '').trim() === '' ? undefined : validate(text)),
    }),
  )
  return answer.trim() || before
}

/** Procore's environments, each with a few words. */
export const ENVIRONMENTS: readonly { readonly value: string; readonly hint: string }[] = [
  { value: 'production', hint: 'app.procore.com, us02.procore.com and so on; On-Demand Sandboxes too' },
  { value: 'sandbox', hint: 'Developer Sandbox: sandbox.procore.com, with credentials of its own' },
  { value: 'monthly-sandbox', hint: 'takes production credentials' },
  { value: 'federal', hint: 'procoregov.com' },
]

async function askEnvironment(guess: string | undefined): Promise<Answers['environment']> {
  const name = await answered(
    clack.select({
      message: 'Environment',
      initialValue: guess ?? 'production',
      options: [...ENVIRONMENTS, { value: 'custom', label: 'another', hint: 'a gateway or a test server' }],
    }),
  )
  if (name !== 'custom') return name
  const apiUrl = await askText('URL of its API', checkOrigin)
  return { apiUrl, loginUrl: await askText('URL of its login server', checkOrigin, apiUrl) }
}

/** The environment whose web pages have this address; undefined for a bare id. */
export function guessEnvironment(answer: string): string | undefined {
  const host = /([\w.-]+\.\w+)\//.exec(answer)?.[1]?.toLowerCase()
  if (host === undefined) return undefined
  if (host.endsWith('.procoregov.com')) return 'federal'
  if (!host.endsWith('.procore.com')) return undefined
  if (host.includes('monthly')) return 'monthly-sandbox'
  return host.startsWith('sandbox.') ? 'sandbox' : 'production'
}

/** Returns an Error if the text names no company. */
export function checkCompany(answer: string | undefined): Error | undefined {
  const reading = readCompanyId(answer ?? '')
  if ('id' in reading) return undefined
  return new Error(
    reading.problem === 'project'
      ? "This is a project's address. Open the company's home page and paste its address."
      : "Write the digits of the id, or paste the address that the browser shows on the company's home page.",
  )
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
    if (/\s/.test(text)) return new Error(`A ${what} has no blanks: copy it once more.`)
    return undefined
  }
}
