#compdef procore-proxy
# zsh completion for procore-proxy. In ~/.zshrc, after compinit: source <(procore-proxy completion zsh)
_procore_proxy_companies() {
  local -a found file
  file=(${opt_args[--config]:-${opt_args[-c]}})
  found=(${(f)"$(procore-proxy completion --companies ${file:+--config} $file 2>/dev/null)"})
  compadd -a found
}
_procore_proxy() {
  local command=start
  local -a commands
  commands=(
    'start:run the proxy (the default command)'
    'demo:try the proxy with a fake Procore; no account needed'
    'init:ask for an account and write a configuration file'
    'check:try the configuration, and say how to fix what fails'
    'explain:say what the proxy would do with a request, without sending it'
    'key:make a key for a caller'
    'schema:print the JSON Schema of the configuration file'
    'completion:print a script that completes commands in your shell'
    'status:show a running proxy'\''s companies, tokens, budgets and last errors'
    'wait:return when a proxy is ready'
    'token:print a fresh access token'
    'list:write a whole list of the API as CSV, NDJSON or JSON'
    'usage:add up an audit file'
  )
  if ((CURRENT == 2)) && [[ $PREFIX != -* ]]; then
    _describe command commands
    return
  fi
  if ((${commands[(I)$words[2]:*]})); then
    command=$words[2]
    shift words
    ((CURRENT--))
  fi
  case $command in
    start) _arguments -s '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '*-l+[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' '*--listen=[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' \
      '(--environment)--environment=[production, sandbox, monthly-sandbox, federal, or one that the file defines]:value:(production sandbox monthly-sandbox federal)' \
      '(--company-id)--company-id=[id of the only company, for use without a file]:value: ' \
      '(--client-id)--client-id=[client id of the only company, for use without a file]:value: ' \
      '(--log-level)--log-level=[least severe log lines to write]:value:(fatal error warn info debug trace silent)' \
      '(--log-format)--log-format=[format of log lines]:value:(auto json readable)' \
      '(--record)--record=[write all requests and responses to this folder]:folder:_files -/' \
      '(--replay)--replay=[answer from the recordings in this folder only]:folder:_files -/' \
      '(--replay-else-record)--replay-else-record=[answer from this folder, and record what is missing]:folder:_files -/' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' ;;
    demo) _arguments -s '(--once)--once[end after the calls]' \
      '(-l --listen)-l+[address of the proxy (default\: 127.0.0.1\:8377, or a free port)]:value: ' '(-l --listen)--listen=[address of the proxy (default\: 127.0.0.1\:8377, or a free port)]:value: ' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' ;;
    init) _arguments -s '(-o --output)-o+[file to write]:file:_files' '(-o --output)--output=[file to write]:file:_files' \
      '(-f --force)-f[overwrite the file if it exists]' '(-f --force)--force[overwrite the file if it exists]' \
      '(--secret-env)--secret-env=[read the secret from this variable instead of the file]:value: ' \
      '(--secret-file)--secret-file=[read the secret from this other file]:file:_files' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' ;;
    check) _arguments -s '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '*-l+[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' '*--listen=[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' \
      '(--environment)--environment=[production, sandbox, monthly-sandbox, federal, or one that the file defines]:value:(production sandbox monthly-sandbox federal)' \
      '(--company-id)--company-id=[id of the only company, for use without a file]:value: ' \
      '(--client-id)--client-id=[client id of the only company, for use without a file]:value: ' \
      '(--log-level)--log-level=[least severe log lines to write]:value:(fatal error warn info debug trace silent)' \
      '(--log-format)--log-format=[format of log lines]:value:(auto json readable)' \
      '(--offline)--offline[stop after the configuration, and connect to nothing]' \
      '(--json)--json[print JSON]' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:company:_procore_proxy_companies' ;;
    explain) _arguments -s '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '*-l+[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' '*--listen=[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' \
      '(--environment)--environment=[production, sandbox, monthly-sandbox, federal, or one that the file defines]:value:(production sandbox monthly-sandbox federal)' \
      '(--company-id)--company-id=[id of the only company, for use without a file]:value: ' \
      '(--client-id)--client-id=[client id of the only company, for use without a file]:value: ' \
      '(--log-level)--log-level=[least severe log lines to write]:value:(fatal error warn info debug trace silent)' \
      '(--log-format)--log-format=[format of log lines]:value:(auto json readable)' \
      '*-H+[header that the caller sends, '\''Name\: value'\'' (repeatable)]:value: ' '*--header=[header that the caller sends, '\''Name\: value'\'' (repeatable)]:value: ' \
      '(--caller)--caller=[caller that sends it, one of `callers` in the configuration]:value: ' \
      '(--json)--json[print JSON]' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:value:(GET HEAD OPTIONS DELETE PATCH POST PUT)' ;;
    key) _arguments -s '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:value: ' ;;
    schema) _arguments -s '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' ;;
    completion) _arguments -s '(--companies)--companies[print the names of the configured companies instead]' \
      '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:value:(bash zsh fish powershell)' ;;
    status) _arguments -s '(--url)--url=[address of the running proxy, such as http\://127.0.0.1\:8377 or unix\:/path (default\: the configured one)]:value: ' \
      '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '(--json)--json[print JSON]' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' ;;
    wait) _arguments -s '(--url)--url=[address of the running proxy, such as http\://127.0.0.1\:8377 or unix\:/path (default\: the configured one)]:value: ' \
      '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '(--live)--live[only wait until it answers at all; for liveness probes]' \
      '(--timeout)--timeout=[how long to wait, such as 500ms, 30s or 2m]:value: ' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' ;;
    token) _arguments -s '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '*-l+[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' '*--listen=[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' \
      '(--environment)--environment=[production, sandbox, monthly-sandbox, federal, or one that the file defines]:value:(production sandbox monthly-sandbox federal)' \
      '(--company-id)--company-id=[id of the only company, for use without a file]:value: ' \
      '(--client-id)--client-id=[client id of the only company, for use without a file]:value: ' \
      '(--log-level)--log-level=[least severe log lines to write]:value:(fatal error warn info debug trace silent)' \
      '(--log-format)--log-format=[format of log lines]:value:(auto json readable)' \
      '(--show)--show[print it on a terminal too]' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:company:_procore_proxy_companies' ;;
    list) _arguments -s '(-c --config)-c+[configuration file]:file:_files' '(-c --config)--config=[configuration file]:file:_files' \
      '*-l+[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' '*--listen=[address to listen on, such as 127.0.0.1\:8377 (repeatable)]:value: ' \
      '(--environment)--environment=[production, sandbox, monthly-sandbox, federal, or one that the file defines]:value:(production sandbox monthly-sandbox federal)' \
      '(--company-id)--company-id=[id of the only company, for use without a file]:value: ' \
      '(--client-id)--client-id=[client id of the only company, for use without a file]:value: ' \
      '(--log-level)--log-level=[least severe log lines to write]:value:(fatal error warn info debug trace silent)' \
      '(--log-format)--log-format=[format of log lines]:value:(auto json readable)' \
      '(--format)--format=[format of the output]:value:(csv ndjson json)' \
      '(-o --output)-o+[file to write (default\: standard output)]:file:_files' '(-o --output)--output=[file to write (default\: standard output)]:file:_files' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:value: ' ;;
    usage) _arguments -s '(--by)--by=[what to group by\: some of caller, route, status and day, separated by commas]:value: ' \
      '(--csv)--csv[print CSV]' \
      '(-h --help)-h[show the help]' '(-h --help)--help[show the help]' \
      '*:file:_files' ;;
  esac
}
compdef _procore_proxy procore-proxy
