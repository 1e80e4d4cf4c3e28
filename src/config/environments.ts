// Procore's own environments: which login server, API and file hosts belong together.
import type { Environment } from './config.ts'

/** The environments that need no configuration; `production` includes On-Demand Sandboxes. */
export const BUILT_IN_ENVIRONMENTS: readonly Environment[] = Object.freeze(
  (
    [
      ['production', 'login.procore.com', 'api.procore.com', 'procore.com'],
      ['sandbox', 'login-sandbox.procore.com', 'sandbox.procore.com', 'procore.com'],
      ['monthly-sandbox', 'login-sandbox-monthly.procore.com', 'api-monthly.procore.com', 'procore.com'],
      ['federal', 'login.procoregov.com', 'api.procoregov.com', 'procoregov.com'],
    ] as const
  ).map(([name, login, api, fileDomain]) =>
    Object.freeze({ name, loginUrl: `https://${login}`, apiUrl: `https://${api}`, fileDomain }),
  ),
)
