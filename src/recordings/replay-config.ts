// Derives a configuration from a folder of recordings, so that replay needs neither a configuration nor an account.
import { BUILT_IN_ENVIRONMENTS, type Environment } from '../config/config.ts'
import type { RecordedCompany } from './har.ts'

/** As in the configuration file: companies and environments as they were recorded ({@link recordedCompanies}), with accounts that are never logged in with. */
export function replayDocument(recorded: readonly RecordedCompany[]) {
  const environments = new Map<string, Environment>()
  const companies = recorded.map(({ company, environment }) => {
    const name = nameFor(environment, environments)
    environments.set(name, environment)
    return [company.name, { id: company.id, serviceAccount: name }] as const
  })
  const names = [...environments]
  return {
    environments: Object.fromEntries(
      names.filter(([, each]) => !isBuiltIn(each)).map(([name, each]) => [name, origins(each)]),
    ),
    serviceAccounts: Object.fromEntries(
      names.map(([environment]) => [
        environment,
        { environment, clientId: 'replay', clientSecret: 'replay' },
      ]),
    ),
    companies: Object.fromEntries(companies),
  }
}

/** Its own, unless another environment of the recordings has that: a fake Procore gets a new port at each start. */
function nameFor(environment: Environment, taken: ReadonlyMap<string, Environment>): string {
  const isBuiltInName = BUILT_IN_ENVIRONMENTS.some(({ name }) => name === environment.name)
  const base = isBuiltInName && !isBuiltIn(environment) ? `recorded-${environment.name}` : environment.name
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base}-${number}`
    const other = taken.get(name)
    if (other === undefined || isSame(other, environment)) return name
  }
}

function isBuiltIn(environment: Environment): boolean {
  return BUILT_IN_ENVIRONMENTS.some((each) => each.name === environment.name && isSame(each, environment))
}

function isSame(a: Environment, b: Environment): boolean {
  return a.apiUrl === b.apiUrl && a.loginUrl === b.loginUrl && a.fileDomain === b.fileDomain
}

function origins({ apiUrl, loginUrl, fileDomain }: Environment): object {
  return { apiUrl, loginUrl, ...(fileDomain === new URL(apiUrl).hostname ? {} : { fileDomain }) }
}
