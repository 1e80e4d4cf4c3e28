// What each environment variable and each flag of the command line sets.

/** Every variable that sets something in the configuration. */
export const VARIABLES: readonly { readonly variable: string; readonly sets: string }[] = [
  { variable: 'PROCORE_CLIENT_ID', sets: "the only company's `clientId`" },
  { variable: 'PROCORE_CLIENT_SECRET', sets: "the only company's `clientSecret`" },
  {
    variable: 'PROCORE_CLIENT_SECRET_FILE',
    sets: "the file with the only company's `clientSecret`; not together with PROCORE_CLIENT_SECRET",
  },
  {
    variable: 'PROCORE_COMPANY_ID',
    sets: "the only company's `id`; the address that the browser shows on the company's home page works too",
  },
  { variable: 'PROCORE_ENVIRONMENT', sets: '`environment`' },
  {
    variable: 'PROCORE_API_URL',
    sets: 'with PROCORE_LOGIN_URL, an environment named `custom`, which becomes the `environment`; not together with PROCORE_ENVIRONMENT',
  },
  { variable: 'PROCORE_LOGIN_URL', sets: 'see PROCORE_API_URL' },
  { variable: 'PROCORE_PROXY_LISTEN', sets: '`listen`; several addresses are separated by commas' },
  { variable: 'PROCORE_PROXY_LOG_LEVEL', sets: '`log.level`' },
  { variable: 'PROCORE_PROXY_CONFIG', sets: 'the configuration file' },
  {
    variable: 'HTTPS_PROXY',
    sets: '`network.proxy`, unless the file does; `https_proxy` takes precedence over it',
  },
  {
    variable: 'NO_PROXY',
    sets: '`network.noProxy`, unless the file does; separated by commas or blanks; `no_proxy` takes precedence over it; ranges of addresses are ignored',
  },
]

/** Every flag that sets something in the configuration, and the variable over which it takes precedence. */
export const FLAGS: readonly {
  readonly flag: string
  readonly variable: string | undefined
  readonly sets: string
}[] = [
  { flag: '--config FILE', variable: 'PROCORE_PROXY_CONFIG', sets: 'the configuration file' },
  {
    flag: '--listen ADDRESS',
    variable: 'PROCORE_PROXY_LISTEN',
    sets: '`listen`; can be given several times',
  },
  { flag: '--environment NAME', variable: 'PROCORE_ENVIRONMENT', sets: '`environment`' },
  { flag: '--company-id ID', variable: 'PROCORE_COMPANY_ID', sets: "the only company's `id`" },
  { flag: '--client-id ID', variable: 'PROCORE_CLIENT_ID', sets: "the only company's `clientId`" },
  { flag: '--log-level LEVEL', variable: 'PROCORE_PROXY_LOG_LEVEL', sets: '`log.level`' },
  { flag: '--log-format FORMAT', variable: undefined, sets: '`log.format`' },
]
