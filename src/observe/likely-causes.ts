// Explains why Procore may have answered 401, 403 or 404: the exact cause if its text gives it, else the likely ones.

/** A cause and how to fix it, as sentences. */
export interface LikelyCause {
  readonly cause: string
  readonly fix: string
}

/** Each begins with the cause as one sentence; the rest says how to fix it. */
const TEXTS = {
  notConnected:
    "The app is not connected to this company. A company admin has to install the app in Procore's App Management. After a reinstall, its permitted projects have to be chosen again.",
  noPermissions:
    "The service account's permissions are still None. In the Company level Directory, give the service account a permission template or the tools it needs.",
  toolNotPermitted:
    "The service account has no permission for this tool or record. Raise its permission for the tool in the company's or the project's directory.",
  toolOff:
    'The tool is switched off for this company or project. A company or project admin can switch it on in the Admin tool.',
  notPermitted:
    'The tool or the project is not permitted to the service account, or the tool is switched off. Check the permission for the tool, and add the project to the permitted projects of the app.',
  contactChanged:
    "The service account's email was edited, or its contact was added to another company's directory. Undo the change, or create a new service account: the old one does not recover by itself.",
  secretReset:
    'The secret was reset, which revokes tokens and wipes permissions and project memberships. Configure the new secret and grant the permissions again.',
  wrongEnvironment:
    'Sandbox credentials or ids are used in production, or vice versa. Set `environment` to the one in which the app and the company were created.',
  wrongCompany:
    "The company id is wrong, or the record belongs to another company. Compare the id with the one in the browser's address bar: https://app.procore.com/COMPANY_ID/company/home/list.",
  traditional:
    'It is a traditional service account; Procore has shut these down. Move to a developer managed service account (DMSA).',
  headerLost:
    'The Procore-Company-Id header, which the proxy sends, did not arrive at Procore. Look for a gateway or an outbound proxy between this machine and Procore that removes it.',
  wrongCredentials:
    "The client id or the secret is wrong, or the secret was reset. Copy both again from the app's page; a secret is shown only once, so it may have to be reset.",
}

type Name = keyof typeof TEXTS

function causesOf(...names: readonly Name[]): readonly LikelyCause[] {
  return names.map((name) => {
    const end = TEXTS[name].indexOf('. ') + 1
    return { cause: TEXTS[name].slice(0, end), fix: TEXTS[name].slice(end + 1) }
  })
}

/** The causes of each status, the most likely first. */
const BY_STATUS: Readonly<Record<number, readonly LikelyCause[]>> = {
  401: causesOf('secretReset', 'contactChanged', 'notConnected', 'wrongEnvironment', 'traditional'),
  403: causesOf(
    'noPermissions',
    'notConnected',
    'notPermitted',
    'contactChanged',
    'secretReset',
    'traditional',
  ),
  404: causesOf('wrongCompany', 'notPermitted', 'wrongEnvironment'),
}

/** What Procore's messages say; the first that matches holds. */
const BY_MESSAGE: readonly (readonly [RegExp, Name])[] = [
  [/\bnot connected to (?:this|the) company\b/i, 'notConnected'],
  [/\bapp(?:lication)? is not (?:connected|installed)\b/i, 'notConnected'],
  [/missing procore-company-id/i, 'headerLost'],
  [/\bnot an active contact\b/i, 'contactChanged'],
  [/\btool is (?:not enabled|disabled|not active|turned off)\b/i, 'toolOff'],
  [/\bnot enabled for (?:this|the) (?:project|company)\b/i, 'toolOff'],
  [/\b(?:doesn't|don't|do(?:es)? not) have (?:the )?(?:\w+ )?(?:permissions?|access)\b/i, 'toolNotPermitted'],
  [/\binsufficient permissions?\b/i, 'toolNotPermitted'],
]

/** The cause that the body of a 401, 403 or 404 gives, in any of Procore's formats; undefined if it gives none. */
export function causeOf(status: number, bodyText: string): LikelyCause | undefined {
  if (BY_STATUS[status] === undefined) return undefined
  const messages = messagesOf(bodyText)
  const found = BY_MESSAGE.find(([pattern]) => messages.some((message) => pattern.test(message)))
  return found && causesOf(found[1])[0]
}

/** The cause that the body gives, else the likely causes of the status; none for other statuses. */
export function likelyCauses(status: number, bodyText = ''): readonly LikelyCause[] {
  const cause = causeOf(status, bodyText)
  return cause === undefined ? (BY_STATUS[status] ?? []) : [cause]
}

/** Causes of a refusal by the login server (`credentials_rejected`). */
export const REFUSED_CREDENTIALS = causesOf('wrongCredentials', 'wrongEnvironment', 'traditional')

/** A cause and its fix as one text. */
export function causeText({ cause, fix }: LikelyCause): string {
  return `${cause} ${fix}`
}

const DEEPEST = 4
const MOST_MESSAGES = 50

/**
 * The messages of an error body: v1's `errors` (a text, a list, or lists by field), `error` and `message`, and v2's
 * `error: { code, message, details }`. Text that is not JSON, or is cut off, is one message.
 */
function messagesOf(bodyText: string): string[] {
  const messages: string[] = []
  const collect = (value: unknown, depth: number): void => {
    if (messages.length >= MOST_MESSAGES || depth > DEEPEST) return
    if (typeof value === 'string') messages.push(value)
    else if (typeof value === 'object' && value !== null)
      for (const member of Object.values(value)) collect(member, depth + 1)
  }
  try {
    const { errors, error, message, reason } = JSON.parse(bodyText) as Record<string, unknown>
    for (const value of [errors, error, message, reason]) collect(value, 0)
  } catch {
    messages.push(bodyText)
  }
  return messages
}
