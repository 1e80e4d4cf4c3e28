// Procore's own environments: which login and API origins belong together (CONTRACT section 1).
import type { Environment } from './config.ts'

/** The environments that need no configuration; `production` covers On-Demand Sandboxes too. */
export const BUILT_IN_ENVIRONMENTS: readonly Environment[] = Object.freeze(
  [
    {
      name: 'production',
      loginUrl: 'https://login.procore.com',
      apiUrl: 'https://api.procore.com',
      fileDomain: 'procore.com',
    },
    {
      name: 'sandbox',
      loginUrl: 'https://login-sandbox.procore.com',
      apiUrl: 'https://sandbox.procore.com',
      fileDomain: 'procore.com',
    },
    {
      name: 'monthly-sandbox',
      loginUrl: 'https://login-sandbox-monthly.procore.com',
      apiUrl: 'https://api-monthly.procore.com',
      fileDomain: 'procore.com',
    },
    {
      name: 'federal',
      loginUrl: 'https://login.procoregov.com',
      apiUrl: 'https://api.procoregov.com',
      fileDomain: 'procoregov.com',
    },
  ].map((environment) => Object.freeze(environment)),
)
