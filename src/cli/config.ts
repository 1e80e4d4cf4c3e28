// Reads the configuration for a command, and finds the company that a command names.
import type { Company, Config } from '../config/config.ts'
import type { LoadInput } from '../config/load.ts'
import type { Flags } from '../config/overrides.ts'
import { ConfigError } from '../config/problems.ts'
import { usageError } from './exit.ts'

/** Reads the configuration; throws CommandError with every mistake in it, whose cause is the ConfigError. */
export async function readConfig(
  flags: Flags,
  options: Partial<Pick<LoadInput, 'env' | 'resolveSecrets' | 'text'>> = {},
): Promise<Config> {
  // Loaded only now, because most runs of the program are health checks, which need only an address.
  const { loadConfig } = await import('../config/load.ts')
  try {
    return await loadConfig({ flags, env: process.env, cwd: process.cwd(), ...options })
  } catch (error) {
    if (error instanceof ConfigError) throw usageError(error.message, { cause: error })
    throw error
  }
}

/** The company with this name or id; under `"*"`, any id is one. Throws CommandError if it is not configured. */
export function companyNamed(config: Config, name: string): Company {
  const company = config.companies.find((each) => each.name === name || each.id === name)
  if (company !== undefined) return company
  if (config.anyCompany !== undefined && /^\d{1,20}$/.test(name)) {
    return { ...config.anyCompany, name, id: name, isDefault: false, listen: undefined }
  }
  const known = config.companies.map((each) => each.name).join(', ') || 'none by name'
  const rest = config.anyCompany === undefined ? '' : ', and any other id'
  throw usageError(`company ${name} is not configured; configured are: ${known}${rest}`)
}
