// What may be answered to the questions of `init`, and the words for what may not.
import type { z } from 'zod'
import { readCompanyId } from '../config/company-url.ts'
import { origin } from '../config/schema-values.ts'

/** An environment of the user's own. */
export interface CustomEnvironment {
  readonly apiUrl: string
  readonly loginUrl: string
}

/** Everything that a file is written from. */
export interface Answers {
  readonly companyId: string
  /** The name of a built-in environment, or one of the user's own. */
  readonly environment: string | CustomEnvironment
  readonly clientId: string
  readonly clientSecret: string | { readonly env: string } | { readonly file: string }
}

/** The company's id in an id or in an address of Procore's web application; or an Error that says what to write. */
export function readCompany(answer: string | undefined): string | Error {
  const reading = readCompanyId(answer ?? '')
  if ('id' in reading) return reading.id
  return new Error(
    reading.problem === 'project'
      ? "This is a project's address. Open the company's home page and paste its address."
      : 'Write the digits of the id, or paste the address that the browser shows on the company’s home page.',
  )
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

/** Procore's environments, each with a few words. */
export const ENVIRONMENTS: readonly { readonly value: string; readonly hint: string }[] = [
  {
    value: 'production',
    hint: 'app.procore.com, us02.procore.com and so on; On-Demand Sandboxes too',
  },
  { value: 'sandbox', hint: 'Developer Sandbox: sandbox.procore.com, with credentials of its own' },
  { value: 'monthly-sandbox', hint: 'takes production credentials' },
  { value: 'federal', hint: 'procoregov.com' },
]

/** An Error where the text is no origin that the proxy would log in to. */
export function checkOrigin(answer: string | undefined): Error | undefined {
  return judge(origin, (answer ?? '').trim())
}

/** An Error where the text can't be a client id or secret: empty, or torn by a line or a blank in pasting. */
export function checkCredential(what: string): (answer: string | undefined) => Error | undefined {
  return (answer) => {
    const text = (answer ?? '').trim()
    if (text === '') return new Error(`Write the ${what}: the app's page at developers.procore.com shows it.`)
    if (/\s/.test(text)) return new Error(`A ${what} holds no blanks: copy it once more.`)
    return undefined
  }
}

/** The schema's own words for a value. */
function judge(schema: z.ZodType, value: unknown): Error | undefined {
  const { error } = schema.safeParse(value)
  const [message, mend] = error?.issues[0]?.message.split('\n') ?? []
  return message === undefined ? undefined : new Error(`${message}. ${mend}.`)
}
