// Why Procore may have answered 401, 403 or 404 although the proxy did its part (CONTRACT section 8, PROCORE section 6).

/** A cause and its mend, as one sentence each. */
export interface LikelyCause {
  readonly cause: string
  readonly mend: string
}

const NOT_CONNECTED: LikelyCause = {
  cause: 'The app is not connected to this company.',
  mend: "A company admin has to install the app in Procore's App Management (after a reinstall, its permitted projects have to be chosen again).",
}
const NO_PERMISSIONS: LikelyCause = {
  cause: "The service account's permissions are still None.",
  mend: 'In the Company level Directory, give the service account a permission template or the tools it needs.',
}
const NOT_PERMITTED: LikelyCause = {
  cause: 'The tool or the project is not permitted to the service account, or the tool is switched off.',
  mend: 'Check the permission of the tool and add the project to the permitted projects of the app.',
}
const CONTACT_CHANGED: LikelyCause = {
  cause: "The service account's email was edited, or its contact was added to another company's directory.",
  mend: 'Undo the change, or create a new service account: such an account never works again by itself.',
}
const SECRET_RESET: LikelyCause = {
  cause: 'The secret was reset, which revokes tokens and wipes permissions and project memberships.',
  mend: 'Configure the new secret and grant the permissions anew.',
}
const WRONG_ENVIRONMENT: LikelyCause = {
  cause: 'Sandbox credentials or ids are used in production, or the reverse.',
  mend: 'Set `environment` to the one in which the app and the company were made.',
}
const WRONG_COMPANY: LikelyCause = {
  cause: 'The company id is wrong, or the record belongs to another company.',
  mend: "Compare the id with the one in the browser's address bar: https://app.procore.com/COMPANY_ID/company/home/list.",
}
const TRADITIONAL: LikelyCause = {
  cause: 'It is a traditional service account; Procore has shut these down.',
  mend: 'Move to a developer managed service account (DMSA).',
}

/**
 * Causes in order of likelihood. `text` is the answer's body where it was read: only known phrases are looked for in
 * it, nothing of it is repeated.
 */
export function likelyCauses(status: number, text = ''): readonly LikelyCause[] {
  if (/not connected/i.test(text)) return [NOT_CONNECTED]
  switch (status) {
    case 401:
      return [SECRET_RESET, CONTACT_CHANGED, NOT_CONNECTED, WRONG_ENVIRONMENT, TRADITIONAL]
    case 403:
      return [NO_PERMISSIONS, NOT_CONNECTED, NOT_PERMITTED, CONTACT_CHANGED, SECRET_RESET, TRADITIONAL]
    case 404:
      return [WRONG_COMPANY, NOT_PERMITTED, WRONG_ENVIRONMENT]
    default:
      return []
  }
}

/** Causes of a refusal by the login server (`credentials_rejected`). */
export const REFUSED_CREDENTIALS: readonly LikelyCause[] = [
  {
    cause: 'The client id or the secret is wrong, or the secret was reset.',
    mend: "Copy both anew from the app's page; a secret is shown only once, so it may have to be reset.",
  },
  WRONG_ENVIRONMENT,
  TRADITIONAL,
]
