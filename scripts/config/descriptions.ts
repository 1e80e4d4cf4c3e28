// What each key of the configuration is for: the descriptions in the JSON Schema, the sample and the reference page.

/** By key path; NAME stands for any name. The keys of secrets, listen addresses and access rules have those names first. */
export const DESCRIPTIONS: Readonly<Record<string, string>> = {
  listen:
    'Where the proxy listens: `host:port`, `"[IPv6]:port"`, `unix:/path`, `{path, mode}`, or a list of these. Port 0 means any free port.',
  publicUrl:
    'The URL at which callers reach the proxy if another server is in front of it. Link headers, Location headers and rewritten file URLs start with it, and its host is accepted in the Host header. If left out, the address that the caller used.',
  environment:
    'The environment of service accounts that name none: production, sandbox, monthly-sandbox, federal, or one from `environments`.',
  environments: 'Environments of your own, such as a gateway or a test server.',
  'environments.NAME.apiUrl': 'The origin of the API. Plain http is allowed to this machine only.',
  'environments.NAME.loginUrl': 'The origin of the login server. Plain http is allowed to this machine only.',
  'environments.NAME.fileDomain':
    'The domain whose hosts serve files, including the domain itself. If left out, the host of the API. Write `localhost` if a test server on this machine serves the files.',
  'environments.NAME.fileHosts':
    'The hosts that the access token is sent to for files: host names, and `*.` with a name for all hosts below it. If left out, all hosts of `fileDomain`.',
  defaultAccess:
    'The `access` of companies that have none, by the environment of their service account. `{production: read-only}` makes all of production read-only.',
  serviceAccounts: 'Service accounts that several companies share, by name.',
  'serviceAccounts.NAME':
    'A client id and its secret. A developer managed service account can serve several companies.',
  'serviceAccounts.NAME.environment':
    'The environment that the service account belongs to. If left out, the `environment` at the top of the file.',
  'serviceAccounts.NAME.clientId': 'The client id.',
  'serviceAccounts.NAME.clientSecret':
    'The client secret. A secret in plain text is refused if other users can read the configuration file (`chmod 600` fixes that).',
  companies:
    'The companies that callers work in, by name (lower-case letters, digits and dashes). The names appear in URLs, logs and metrics.',
  'companies.*': 'Any other company id that a request names. This needs a developer managed service account.',
  'companies.NAME.id': "Procore's id of the company: up to 20 digits, in quotes.",
  'companies.NAME.serviceAccount':
    'The name of an entry in `serviceAccounts`, or a service account written here.',
  'companies.NAME.access':
    'What callers may do: `read-only` allows GET, HEAD and OPTIONS only. If left out, `defaultAccess` for the environment decides, and without that it is `read-write`.',
  'companies.NAME.rules':
    'Rules for paths and methods. The first rule that matches a request decides. If none matches, `access` decides.',
  'companies.NAME.rewriteFileUrls':
    'Whether file URLs in JSON responses are rewritten so that callers download the files through the proxy. A value is rewritten if it is, as a whole, an https URL of one of the file hosts.',
  'companies.NAME.default':
    'Whether requests that name no company are for this one. Only one company can be the default.',
  'companies.NAME.listen':
    'A listen address for this company alone, for tools that can only be given a host and a port.',
  'companies.NAME.publicUrl':
    'Like the `publicUrl` at the top, for requests that arrive at this `listen` address.',
  callers:
    'Callers with names, keys and permissions of their own. If there are any, every request needs a key.',
  'callers.NAME': 'A caller with a key and permissions of its own.',
  'callers.NAME.key':
    'The key that the caller sends, or a list of keys while you replace one. A key has at least 16 characters.',
  'callers.NAME.companies':
    'The names of the companies that the caller may use; all companies if left out. Where `"*"` is configured, ids of other companies are allowed too.',
  'callers.NAME.access': "The most that the caller may do. The company's own `access` and `rules` apply too.",
  'callers.NAME.rules': "Rules for this caller, written like a company's rules. Both must allow a request.",
  'callers.NAME.projects': 'The ids of the projects that the caller may use; all projects if left out.',
  'callers.NAME.share':
    'The largest part of a rate limit window that this caller may use while others need it, such as `25%`.',
  upstream: 'Connections to Procore.',
  'upstream.connectTimeout': 'The longest time to connect to Procore, including TLS.',
  'upstream.responseTimeout':
    "The longest wait for the first byte of Procore's response, and between two parts of it.",
  'upstream.connections': 'The most connections to one API origin for one company.',
  'upstream.maxQueued':
    'The most requests of one company that wait for a connection. Further requests get the error `overloaded`.',
  'upstream.retries':
    'How often a request is sent again if the connection fails before any response (POST and PATCH only if no byte was sent). While the API does not answer at all, this is done for as many requests of a company as `connections` and `maxQueued` allow at once, and a hundred more.',
  'upstream.compression':
    'Whether the proxy asks Procore for gzip on behalf of callers that send no Accept-Encoding. They get the response unpacked. It does not do so for HEAD or for requests with Range.',
  network:
    'The way out of a corporate network. `proxy` and `noProxy` default to the variables HTTPS_PROXY and NO_PROXY.',
  'network.proxy':
    'The URL of an HTTP proxy between this machine and Procore: `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT` (https too), or `none`. If left out, the variable HTTPS_PROXY decides. A password in plain text is refused if other users can read the configuration file. Loopback addresses are always reached directly.',
  'network.noProxy':
    'Hosts that are reached without that proxy: names (including all hosts below them), addresses, or `"*"` for every host. A port may follow. If left out, the variable NO_PROXY decides.',
  'network.caFile':
    "A file of CA certificates (PEM or DER), relative to the configuration file's folder. They are trusted in addition to Node's own and those of the variable NODE_EXTRA_CA_CERTS.",
  rateLimit: "Procore's rate limits.",
  'rateLimit.whenExhausted':
    "What happens to requests while Procore's rate limit is used up: they `wait`, are refused with 429 (`reject`), or are sent anyway (`pass`).",
  'rateLimit.maxWait': 'The longest time that a request waits for the rate limit or for Retry-After.',
  'rateLimit.maxQueued': 'The most requests of one company that wait for the rate limit.',
  cache: 'Requests that can be saved. Everything here is off unless you turn it on.',
  'cache.coalesce': 'Whether equal GET requests at the same time are sent to Procore once.',
  'cache.keep': 'Responses that are kept and served again without asking Procore.',
  'cache.keep.paths': 'Patterns of the paths whose responses are kept, written like those of an access rule.',
  'cache.keep.for': 'How long a response is served from the cache.',
  'cache.keep.whenExhausted':
    "How old a response may be while Procore's rate limit is used up. If left out, as old as `for`.",
  'cache.refusals': "How long Procore's 403 and 404 responses are served again; `0s` means not at all.",
  'cache.size': 'The most memory for everything that is kept.',
  lists: 'Complete lists, read page by page, as CSV, NDJSON or JSON.',
  'lists.enabled': 'Whether `/_proxy/csv/`, `/_proxy/ndjson/` and `/_proxy/json/` are served.',
  'lists.perPage': 'How many rows one page has, if the caller does not say; at most 100 for v2 of the API.',
  'lists.maxPages': 'The most pages that are read for one list.',
  'lists.maxProjects': 'The most projects that are read for a list of all projects (`*`).',
  'lists.concurrency': 'How many projects are read at the same time for such a list.',
  'lists.csvFormulas':
    "What happens to CSV texts that a spreadsheet would run as formulas: `escape` puts a `'` before them, `keep` leaves them alone.",
  recordings: 'What `start --record` writes.',
  'recordings.redact': 'Names of members of JSON bodies whose values are masked in recordings.',
  audit: 'A log of what each caller did, one JSON line for each request.',
  'audit.file':
    "The file that the audit log is appended to, relative to the configuration file's folder. Its folder must exist.",
  'audit.what': 'Which requests are logged: `writes` (with refused requests) or `all`.',
  shared: 'Redis or Valkey, through which several replicas share rate limits and access tokens.',
  'shared.url':
    'The URL of Redis or Valkey: `redis://` or `rediss://` (TLS), with user and password if needed.',
  'shared.prefix': 'What the names of all keys in Redis start with.',
  'shared.timeout':
    'The longest time that a request waits for Redis. A token request waits up to a second for each reply.',
  'shared.whenDown':
    "What happens while Redis can't be reached: each replica uses its part of the rate limit (`split`), all of it (`local`), or refuses requests (`reject`).",
  guard: 'Who may call the proxy.',
  'guard.allowedHosts':
    'Host names by which callers may reach the proxy, besides localhost, *.localhost, 127.0.0.0/8 and [::1].',
  'guard.allowedOrigins': 'Origins of web pages that may call the proxy from a browser.',
  'guard.requireHeader': 'Whether callers must send `Procore-Proxy-Request: true`.',
  'guard.clientKeys':
    'Keys, of which callers must send one: as `Procore-Proxy-Key`, `Authorization: Bearer KEY`, or the password of Basic authentication. Each has at least 16 characters. `callers` has keys with names.',
  'guard.allowUnauthenticated':
    'Whether the proxy may be reachable from other machines, or by names that web pages can use, without `clientKeys` or `callers`. Anyone who can connect then uses your service accounts.',
  metrics: 'Where monitoring systems read metrics.',
  'metrics.listen':
    'One more address, which serves health checks and metrics without a key, and nothing else. Other machines may be able to reach it.',
  log: 'The log.',
  'log.level': 'The least important log lines that are written.',
  'log.format': 'How log lines are written. `auto` means readable on a terminal and JSON otherwise.',
  inspector:
    'What the status page shows of requests. Values of request headers are never shown, and bodies only if you ask for them.',
  'inspector.enabled': 'Whether recent requests are remembered and shown on the status page.',
  'inspector.requests': 'How many requests are remembered, in memory only.',
  'inspector.showQueryValues':
    'Whether query values are shown, which may be signatures or personal data. Otherwise each is shown as `*`.',
  'inspector.bodies':
    'Whether the first 2 KiB of each text body are remembered and shown. Values that look like secrets are masked, but personal data is not.',
  shutdownTimeout: 'How long requests in progress may continue when the proxy stops.',
  'listenAddress.path': "The socket's absolute path.",
  'listenAddress.mode': "The socket's permission bits, in octal.",
  'secret.env': 'The environment variable that holds the value.',
  'secret.file':
    "The file that holds the value, relative to the configuration file's folder. One newline at its end is removed. Other users must not be able to read it, except below /run/secrets and /run/credentials and on read-only file systems.",
  'secret.command':
    "The program that prints the value, and its arguments. It runs without a shell in the configuration file's folder. One newline at the end of its output is removed.",
  'secret.timeout': 'The longest time that the program may take.',
  'accessRule.allow': 'The paths that the rule allows.',
  'accessRule.methods':
    'The methods that the rule is for; all of them if left out. `reads` means GET, HEAD and OPTIONS, `writes` all others. GET includes HEAD.',
  'accessRule.deny': 'The paths that the rule refuses.',
}
