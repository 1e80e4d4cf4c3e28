# bash completion for procore-proxy. In ~/.bashrc: source <(procore-proxy completion bash)
_procore_proxy() {
  local IFS=$' \t\n' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  local command=start commands=' start demo init check explain key schema completion status wait token list usage ' flags kind words is_argument='' config='' i
  # bash takes --flag=value for three words.
  if [[ $cur == '=' ]]; then cur=''; elif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD > 1)) && [[ $commands == *" ${COMP_WORDS[1]} "* ]]; then command=${COMP_WORDS[1]}; fi
  case $command in
    start)
      flags='-c --config -l --listen --environment --company-id --client-id --log-level --log-format --record --replay --replay-else-record -h --help'
      case $prev in
        -c|--config) kind=file ;;
        -l|--listen) kind=words words='' ;;
        --environment) kind=words words='production sandbox monthly-sandbox federal' ;;
        --company-id) kind=words words='' ;;
        --client-id) kind=words words='' ;;
        --log-level) kind=words words='fatal error warn info debug trace silent' ;;
        --log-format) kind=words words='auto json readable' ;;
        --record) kind=folder ;;
        --replay) kind=folder ;;
        --replay-else-record) kind=folder ;;
        *) kind=words words= is_argument=yes ;;
      esac ;;
    demo)
      flags='--once -l --listen -h --help'
      case $prev in
        -l|--listen) kind=words words='' ;;
        *) kind=words words= is_argument=yes ;;
      esac ;;
    init)
      flags='-o --output -f --force --secret-env --secret-file -h --help'
      case $prev in
        -o|--output) kind=file ;;
        --secret-env) kind=words words='' ;;
        --secret-file) kind=file ;;
        *) kind=words words= is_argument=yes ;;
      esac ;;
    check)
      flags='-c --config -l --listen --environment --company-id --client-id --log-level --log-format --offline --json -h --help'
      case $prev in
        -c|--config) kind=file ;;
        -l|--listen) kind=words words='' ;;
        --environment) kind=words words='production sandbox monthly-sandbox federal' ;;
        --company-id) kind=words words='' ;;
        --client-id) kind=words words='' ;;
        --log-level) kind=words words='fatal error warn info debug trace silent' ;;
        --log-format) kind=words words='auto json readable' ;;
        *) kind=company is_argument=yes ;;
      esac ;;
    explain)
      flags='-c --config -l --listen --environment --company-id --client-id --log-level --log-format -H --header --caller --json -h --help'
      case $prev in
        -c|--config) kind=file ;;
        -l|--listen) kind=words words='' ;;
        --environment) kind=words words='production sandbox monthly-sandbox federal' ;;
        --company-id) kind=words words='' ;;
        --client-id) kind=words words='' ;;
        --log-level) kind=words words='fatal error warn info debug trace silent' ;;
        --log-format) kind=words words='auto json readable' ;;
        -H|--header) kind=words words='' ;;
        --caller) kind=words words='' ;;
        *) kind=words words='GET HEAD OPTIONS DELETE PATCH POST PUT' is_argument=yes ;;
      esac ;;
    key)
      flags='-h --help'
      case $prev in
        *) kind=words words='' is_argument=yes ;;
      esac ;;
    schema)
      flags='-h --help'
      case $prev in
        *) kind=words words= is_argument=yes ;;
      esac ;;
    completion)
      flags='--companies -c --config -h --help'
      case $prev in
        -c|--config) kind=file ;;
        *) kind=words words='bash zsh fish powershell' is_argument=yes ;;
      esac ;;
    status)
      flags='--url -c --config --json -h --help'
      case $prev in
        --url) kind=words words='' ;;
        -c|--config) kind=file ;;
        *) kind=words words= is_argument=yes ;;
      esac ;;
    wait)
      flags='--url -c --config --live --timeout -h --help'
      case $prev in
        --url) kind=words words='' ;;
        -c|--config) kind=file ;;
        --timeout) kind=words words='' ;;
        *) kind=words words= is_argument=yes ;;
      esac ;;
    token)
      flags='-c --config -l --listen --environment --company-id --client-id --log-level --log-format --show -h --help'
      case $prev in
        -c|--config) kind=file ;;
        -l|--listen) kind=words words='' ;;
        --environment) kind=words words='production sandbox monthly-sandbox federal' ;;
        --company-id) kind=words words='' ;;
        --client-id) kind=words words='' ;;
        --log-level) kind=words words='fatal error warn info debug trace silent' ;;
        --log-format) kind=words words='auto json readable' ;;
        *) kind=company is_argument=yes ;;
      esac ;;
    list)
      flags='-c --config -l --listen --environment --company-id --client-id --log-level --log-format --format -o --output -h --help'
      case $prev in
        -c|--config) kind=file ;;
        -l|--listen) kind=words words='' ;;
        --environment) kind=words words='production sandbox monthly-sandbox federal' ;;
        --company-id) kind=words words='' ;;
        --client-id) kind=words words='' ;;
        --log-level) kind=words words='fatal error warn info debug trace silent' ;;
        --log-format) kind=words words='auto json readable' ;;
        --format) kind=words words='csv ndjson json' ;;
        -o|--output) kind=file ;;
        *) kind=words words='' is_argument=yes ;;
      esac ;;
    usage)
      flags='--by --csv -h --help'
      case $prev in
        --by) kind=words words='' ;;
        *) kind=file is_argument=yes ;;
      esac ;;
  esac
  if [[ -n $is_argument && $cur == -* ]]; then kind=words words=$flags
  elif [[ -n $is_argument ]] && ((COMP_CWORD == 1)); then kind=words words=$commands; fi
  if [[ $kind == company ]]; then
    for ((i = 1; i < COMP_CWORD; i++)); do
      [[ ${COMP_WORDS[i]} == -c || ${COMP_WORDS[i]} == --config ]] || continue
      config=${COMP_WORDS[i+1]}
      if [[ $config == '=' ]]; then config=${COMP_WORDS[i+2]}; fi
    done
    kind=words words=$(procore-proxy completion --companies ${config:+--config "$config"} 2>/dev/null)
  fi
  COMPREPLY=()
  case $kind in
    words) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    file) compopt -o filenames 2>/dev/null; IFS=$'\n'; COMPREPLY=($(compgen -f -- "$cur")) ;;
    folder) compopt -o filenames 2>/dev/null; IFS=$'\n'; COMPREPLY=($(compgen -d -- "$cur")) ;;
  esac
}
complete -F _procore_proxy procore-proxy
