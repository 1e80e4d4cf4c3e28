// Explains why Procore may have answered 401, 403 or 404: the exact cause if its text gives it, else the likely ones.

/** A cause and how to fix it, as sentences. */
export interface LikelyCause {
  readonly cause: string
  readonly fix: string
}

const NOT_CONNECTED: LikelyCause = {
  cause: 'The app is not connected to this company.',
  fix: "A company admin has to install the app in Procore's App Management. After a reinstall, its permitted projects have to be chosen again.",
}
const NO_PERMISSIONS: LikelyCause = {
  cause: "The service account's permissions are still None.",
  fix: 'In the Company level Directory, give the service account a permission template or the tools it needs.',
}
const TOOL_NOT_PERMITTED: LikelyCause = {
  cause: 'The service account has no permission for this tool or record.',
  fix: "Raise its permission for the tool in the company's or the project's directory.",
}
const TOOL_OFF: LikelyCause = {
  cause: 'The tool is switched off for this company or project.',
  fix: 'A company or project admin can switch it on in the Admin tool.',
}
const NOT_PERMITTED: LikelyCause = {
  cause: 'The tool or the project is not permitted to the service account, or the tool is switched off.',
  fix: 'Check the permission for the tool, and add the project to the permitted projects of the app.',
}
const CONTACT_CHANGED: LikelyCause = {
  cause: "The service account's email was edited, or its contact was added to another company's directory.",
  fix: 'Undo the change, or create a new service account: the old one does not recover by itself.',
}
const SECRET_RESET: LikelyCause = {
  cause: 'The secret was reset, which revokes tokens and wipes permissions and project memberships.',
  fix: 'Configure the new secret and grant the permissions again.',
}
const WRONG_ENVIRONMENT: LikelyCause = {
  cause: 'Sandbox credentials or ids are used in production, or the reverse.',
  fix: 'Set `environment` to the one in which the app and the company were created.',
}
const WRONG_COMPANY: LikelyCause = {
  cause: 'The company id is wrong, or the record belongs to another company.',
  fix: "Compare the id with the one in the browser's address bar: https://app.procore.com/COMPANY_ID/company/home/list.",
}
const TRADITIONAL: LikelyCause = {
  cause: 'It is a traditional service account; Procore has shut these down.',
  fix: 'Move to a developer managed service account (DMSA).',
}
const HEADER_LOST: LikelyCause = {
  cause: 'The Procore-Company-Id header, which the proxy sends, did not arrive at Procore.',
  fix: 'Look for a gateway or an outbound proxy between this machine and Procore that removes it.',
}

/** The causes of each status, the most likely first. */
const BY_STATUS: Readonly<Record<number, readonly LikelyCause[]>> = {
  401: [SECRET_RESET, CONTACT_CHANGED, NOT_CONNECTED, WRONG_ENVIRONMENT, TRADITIONAL],
  403: [NO_PERMISSIONS, NOT_CONNECTED, NOT_PERMITTED, CONTACT_CHANGED, SECRET_RESET, TRADITIONAL],
  404: [WRONG_COMPANY, NOT_PERMITTED, WRONG_ENVIRONMENT],
}

/** Procore's messages and their causes. The first match counts. */
const BY_MESSAGE: readonly (readonly [pattern: RegExp, cause: LikelyCause])[] = [
  [
    /\bnot connected to (?:this|the) company\b|\bapp(?:lication)? is not (?:connected|installed)\b/i,
    NOT_CONNECTED,
  ],
  [/missing procore-company-id/i, HEADER_LOST],
  [/\bnot an active contact\b/i, CONTACT_CHANGED],
  [
    /\btool is (?:not enabled|disabled|not active|turned off)\b|\bnot enabled for (?:this|the) (?:project|company)\b/i,
    TOOL_OFF,
  ],
  [
    /\b(?:do(?:es)?n't|do(?:es)? not) have (?:the )?(?:\w+ )?(?:permissions?|access)\b|\binsufficient permissions?\b/i,
    TOOL_NOT_PERMITTED,
  ],
]

/** The cause that the body of a 401, 403 or 404 gives, in any of Procore's formats; undefined if it gives none. */
export function causeOf(status: number, bodyText: string): LikelyCause | undefined {
  if (BY_STATUS[status] === undefined) return undefined
  const messages = messagesOf(bodyText)
  return BY_MESSAGE.find(([pattern]) => messages.some((message) => pattern.test(message)))?.[1]
}

/** The cause that the body gives, else the likely causes of the status; none for other statuses. */
export function likelyCauses(status: number, bodyText = ''): readonly LikelyCause[] {
  const cause = causeOf(status, bodyText)
  return cause === undefined ? (BY_STATUS[status] ?? []) : [cause]
}

/** Causes of a refusal by the login server (`credentials_rejected`). */
export const REFUSED_CREDENTIALS: readonly LikelyCause[] = [
  {
    cause: 'The client id or the secret is wrong, or the secret was reset.',
    fix: "Copy both again from the app's page; a secret is shown only once, so it may have to be reset.",
  },
  WRONG_ENVIRONMENT,
  TRADITIONAL,
]

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
