// Procore's own environments: which login server, API and file hosts belong together.
import type { Environment } from './config.ts'

function environment(name: string, hosts: readonly [login: string, api: string, files: string]): Environment {
  const [login, api, fileDomain] = hosts
  const origins = { loginUrl: `https://${login}`, apiUrl: `https://${api}` }
  return Object.freeze({ name, ...origins, fileDomain })
}

/** The environments that need no configuration; `production` includes On-Demand Sandboxes. */
export const BUILT_IN_ENVIRONMENTS: readonly Environment[] = Object.freeze([
  environment('production', ['login.procore.com', 'api.procore.com', 'procore.com']),
  environment('sandbox', ['login-sandbox.procore.com', 'sandbox.procore.com', 'procore.com']),
  environment('monthly-sandbox', [
    'login-sandbox-monthly.procore.com',
    'api-monthly.procore.com',
    'procore.com',
  ]),
  environment('federal', ['login.procoregov.com', 'api.procoregov.com', 'procoregov.com']),
])
