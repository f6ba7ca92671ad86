# Installers. Each does nothing, and asks nobody, when its work is already done.
# Pinned versions: Maven artifacts in compat/java/*.xml, Python packages in compat/python/requirements.txt,
# Go modules in compat/go*/go.sum, packages of npm in compat/node/package-lock.json, Rust in rust-toolchain.toml; Debian packages follow the distribution.

PYTHON=$WORK/venv/bin/python
export PYTHON
GO_TOOLCHAIN=1.26.0 # for a machine without Go, or with one too old for compat/go/go.mod

_as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# install_debian PACKAGE: a Debian package, unless it is there.
install_debian() {
  dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' && return
  # The lists are fetched once a run, and only if something is missing.
  local lists=$WORK/apt-lists.${COMPAT_RESULTS##*.}
  if [ ! -e "$lists" ]; then
    _as_root apt-get update -q
    rm -f "$WORK"/apt-lists.*
    touch "$lists"
  fi
  # A service that starts by itself would take a fixed port (prometheus): none is started.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | _as_root tee $policy >/dev/null
    _as_root chmod +x $policy
    made=1
  fi
  local code=0
  DEBIAN_FRONTEND=noninteractive _as_root apt-get install -q -y --no-install-recommends "$1" || code=$?
  [ -z "$made" ] || _as_root rm -f $policy
  return $code
}

install_rust() {
  if ! command -v cargo >/dev/null; then
    install_debian rustup || install_debian cargo
  fi
  # With rustup, the toolchain of rust-toolchain.toml and its components; without, cargo must do.
  if command -v rustup >/dev/null; then
    local channel component
    channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")
    for component in rustfmt clippy; do
      rustup component list --toolchain "$channel" --installed 2>/dev/null | grep -q "^$component" ||
        rustup toolchain install "$channel" --profile minimal --component rustfmt,clippy
    done
  fi
  command -v cc >/dev/null || install_debian build-essential
  (cd "$ROOT" && cargo --version)
}

# install_python [NAME]: the virtual environment with the clients written in Python, and pytest; with a name,
# the one of requirements-NAME.txt, in $WORK/venv-NAME.
install_python() {
  local wanted=$COMPAT/python/requirements.txt folder=$WORK/venv
  if [ "${1:-python}" != python ]; then
    wanted=$COMPAT/python/requirements-$1.txt folder=$WORK/venv-$1
  fi
  local stamp=$folder/requirements.txt
  cmp -s "$wanted" "$stamp" && [ -x "$folder/bin/python" ] && return
  command -v python3 >/dev/null || install_debian python3
  rm -rf "$folder"
  if ! python3 -m venv "$folder"; then
    install_debian python3-venv
    rm -rf "$folder"
    python3 -m venv "$folder"
  fi
  "$folder/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$wanted"
  cp "$wanted" "$stamp"
}

install_java() {
  # Kafka 4.1's server side wants Java 17, its clients 11.
  if command -v javac >/dev/null && [ "$(javac -version 2>&1 | sed 's/javac \([0-9]*\).*/\1/')" -ge 17 ]; then return; fi
  install_debian default-jdk-headless
  [ "$(javac -version 2>&1 | sed 's/javac \([0-9]*\).*/\1/')" -ge 17 ]
}

# install_maven NAME: the jars that compat/java/NAME.xml names, with all they need, in $WORK/NAME.
install_maven() {
  install_java
  local pom=$COMPAT/java/$1.xml jars=$WORK/$1
  cmp -s "$pom" "$jars/pom.xml" && return
  command -v mvn >/dev/null || install_debian maven
  rm -rf "$jars"
  mvn -q -B -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$jars"
  cp "$pom" "$jars/pom.xml"
}

# install_go [NAME]: the franz-go programme (compat/go) as $WORK/franz, or the one of compat/go-NAME as $WORK/go-NAME.
install_go() {
  local programme=franz source=$COMPAT/go
  if [ "${1:-go}" != go ]; then
    programme=go-$1 source=$COMPAT/go-$1
  fi
  local stamp=$WORK/$programme.sum
  local sum
  sum=$(cat "$source"/* | sha256sum)
  [ -x "$WORK/$programme" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] && return
  command -v go >/dev/null || { [ -x /usr/local/go/bin/go ] && PATH=/usr/local/go/bin:$PATH; } || install_debian golang-go
  local go=go minor wanted
  minor=$(go env GOVERSION | sed 's/go1\.\([0-9]*\).*/\1/')
  wanted=$(sed -n 's/^go 1\.\([0-9]*\).*/\1/p' "$source/go.mod")
  if [ "$minor" -lt "$wanted" ]; then
    # A Go that is too old fetches a newer one as the module it is published as.
    local module folder
    module=golang.org/toolchain@v0.0.1-go$GO_TOOLCHAIN.$(go env GOOS)-$(go env GOARCH)
    folder=$(cd "$WORK" && GOFLAGS=-mod=mod go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    # Older ones unpack it without its execution bits, and read-only.
    chmod -R u+w "$folder"
    chmod +x "$folder"/bin/* "$folder"/pkg/tool/*/*
    go=$folder/bin/go
    export GOROOT=$folder
  fi
  (cd "$source" && GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false" "$go" build -o "$WORK/$programme" .)
  echo "$sum" >"$stamp"
}

# The programmes of compat/node with what they need, in $WORK/node.
install_node() {
  command -v node >/dev/null || install_debian nodejs
  command -v npm >/dev/null || install_debian npm
  local folder=$WORK/node
  if ! cmp -s "$COMPAT/node/package-lock.json" "$folder/installed.json"; then
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$COMPAT"/node/package*.json "$folder"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts)
    cp "$COMPAT/node/package-lock.json" "$folder/installed.json"
  fi
  cp "$COMPAT"/node/*.js "$folder"
}

# The programmes of compat/java/clients, as clients.jar among the jars that they use.
install_java_clients() {
  install_maven curator-5.9.0
  local jars=$WORK/curator-5.9.0 sum
  sum=$(cat "$COMPAT"/java/clients/* | sha256sum)
  [ "$(cat "$jars/clients.sum" 2>/dev/null)" = "$sum" ] && return
  rm -rf "$jars/clients" "$jars/clients.jar"
  mkdir -p "$jars/clients"
  javac -J-Xmx256m -nowarn -d "$jars/clients" -cp "$jars/*" "$COMPAT"/java/clients/*.java
  cp "$COMPAT/java/clients/logback.xml" "$jars/clients"
  jar cf "$jars/clients.jar" -C "$jars/clients" .
  echo "$sum" >"$jars/clients.sum"
}

# The C client's programme (compat/c), as $WORK/c-client.
install_c_client() {
  install_debian libzookeeper-mt-dev
  command -v cc >/dev/null || install_debian build-essential
  [ "$WORK/c-client" -nt "$COMPAT/c/client.c" ] && return
  cc -DTHREADED -O1 -Wall -Wextra -Werror -o "$WORK/c-client" "$COMPAT/c/client.c" -lzookeeper_mt -lpthread
}
