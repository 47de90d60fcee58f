#!/usr/bin/env bash
# From nothing to a running hub on Azure, in one command. Run it again after a failure or for the
# next release: what is there already is kept. docs/azure.md explains the steps.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
me=deploy-azure-workers

usage() {
	cat <<'TEXT'
usage: scripts/deploy-azure-workers.sh [OPTION]...

  --environment NAME   beta (50 users) or production (500 users); beta if not said
  --parameters FILE    a parameter file of yours in place of infra/NAME.parameters.json
  --group NAME         the resource group; huntaze-NAME if not said
  --location NAME      the region; eastus2 if not said
  --subscription ID    the subscription, which becomes az's default; that if not said
  --package FILE       a package made before (python3 scripts/azure_package.py FILE)
  --client-ip ADDRESS  this machine's public address, for the database's firewall
  --deployer-id ID     your object id, where az may not look it up (pipelines)
  --secrets-from NAME  after a disaster: a new group has its secrets from that vault, or from the
                       files of a folder (with a / in its name), in place of new ones
  --skip-migrate       the database is migrated elsewhere
  --roll-back          swap the release before this one back in, and nothing else
  --dry-run            print every command and run none, but for az account show
TEXT
}

# --------------------------------------------------------------------------- saying things

say() { printf '== %s\n' "$*"; }

# One line that says what is wrong and one way on.
stop() {
	printf '%s: %s\n' "$me" "$*" >&2
	exit 1
}

refuse() {
	printf '%s: %s\n' "$me" "$*" >&2
	usage >&2
	exit 2
}

quoted() {
	printf '+'
	printf ' %q' "$@"
	printf '\n'
}

# --------------------------------------------------------------------------- arguments

environment=beta
parameters=
group=
location=eastus2
subscription=
package=
client_ip=
deployer=
secrets_from=
migrate=1
roll_back=
dry=

while [ $# -gt 0 ]; do
	case $1 in
	--environment | --parameters | --group | --location | --subscription | --package | --client-ip | --deployer-id | --secrets-from)
		[ $# -gt 1 ] && [ -n "$2" ] || refuse "$1 needs a value"
		case $1 in
		--environment) environment=$2 ;;
		--parameters) parameters=$2 ;;
		--group) group=$2 ;;
		--location) location=$2 ;;
		--subscription) subscription=$2 ;;
		--package) package=$2 ;;
		--client-ip) client_ip=$2 ;;
		--deployer-id) deployer=$2 ;;
		--secrets-from) secrets_from=$2 ;;
		esac
		shift
		;;
	--skip-migrate) migrate= ;;
	--roll-back) roll_back=1 ;;
	--dry-run) dry=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	*) refuse "there is no option $1" ;;
	esac
	shift
done

parameters=${parameters:-$root/infra/$environment.parameters.json}
group=${group:-huntaze-$environment}
[ -r "$parameters" ] || stop "there is no parameter file $parameters: --environment takes beta or production, --parameters a file of yours"
[ -z "$package" ] || [ -r "$package" ] || stop "there is no package $package: make one with python3 scripts/azure_package.py FILE, or leave --package out"
case $secrets_from in
*/*) [ -r "${secrets_from%/}/encryption-keys" ] || stop "there is no file ${secrets_from%/}/encryption-keys: docs/azure.md (Disasters) says what the folder has to hold" ;;
esac

# --------------------------------------------------------------------------- running az

umask 077
work=$(mktemp -d)
opened=
vault=
asked_vault=

clean_up() {
	if [ -n "$opened" ]; then
		az postgres flexible-server firewall-rule delete --resource-group "$group" --server-name "$opened" --name deploy --yes --output none 2>/dev/null ||
			printf '%s: the firewall rule deploy of %s is still there: delete it in the portal\n' "$me" "$opened" >&2
	fi
	rm -rf "$work"
}
trap clean_up EXIT

# Of errors within errors the last message, the innermost: it says what it is about.
innermost() {
	grep -Eo '"message": ?"([^"\\]|\\.)+"' | tail -n 1 | sed 's/^"message": *"//; s/"$//' || true
}

# Turns what az said into one line and ends. The whole of it is kept beside, without secrets: none
# is ever on a command line.
explain() {
	local doing=$1 said kept reason secret
	said=$(<"$work/said")
	kept=$(mktemp "${TMPDIR:-/tmp}/$me.XXXXXX")
	cp "$work/said" "$kept"
	shopt -s nocasematch
	local rest=$'[^\n]*'
	has() { [[ $said =~ ${1//.\*/$rest} ]]; } # .* ends with the line
	if has "InvalidAuthenticationTokenTenant|wrong issuer"; then
		stop "this login is for another directory than the subscription's: az login --tenant TENANT, then run this again"
	elif has "az login|AADSTS|refresh token|InteractionRequired|CredentialUnavailable"; then
		stop "not logged in to Azure: run az login (without a browser: az login --use-device-code), then this again"
	elif has "No subscription found"; then
		stop "this login has no subscription: az login --tenant TENANT (the directory that has one), then run this again"
	elif has "SubscriptionNotFound|subscription .*(doesn't exist|not found|could not be found)"; then
		stop "az cannot find that subscription: see az account list --output table, and give one with --subscription"
	elif has "ReadOnlyDisabledSubscription|SubscriptionDisabled|not in a state to"; then
		stop "that subscription is switched off: mend its payment in the portal, or give another with --subscription"
	elif [ -n "$asked_vault" ] && [ "$asked_vault" = "$secrets_from" ] && has "resolve|getaddrinfo|Name or service not known"; then
		stop "no vault is named $secrets_from: az keyvault list --output table, then run this again with one of those"
	elif has "ForbiddenByConnection|ForbiddenByFirewall|Public network access is disabled"; then
		stop "$doing: that service lets in its own network alone: run this again from inside it"
	elif has "Forbidden|ForbiddenByRbac" && has "vault" && [ -n "$asked_vault" ] && [ "$asked_vault" = "$secrets_from" ]; then
		stop "the vault $secrets_from does not let you read its secrets: take the role Key Vault Secrets User on it (portal: the vault, Access control), wait five minutes, then run this again"
	elif has "SecretDisabled"; then
		stop "$doing: that secret is switched off: switch it on (portal: the vault, Secrets, the newest version, Enabled), then run this again"
	elif [ -n "$asked_vault" ] && has "Forbidden|ForbiddenByRbac" && has "vault"; then
		stop "the vault of $group does not let you read its secrets, and new ones would lock the hub out of its data: run az role assignment create --role 'Key Vault Secrets Officer' --assignee-object-id $deployer --assignee-principal-type $deployer_type --scope /subscriptions/$subscription/resourceGroups/$group, wait five minutes, then run this again"
	elif has "Insufficient privileges|Authorization_RequestDenied"; then
		stop "$doing: this login may not look itself up: give its object id with --deployer-id (portal: Enterprise applications)"
	elif has "AuthorizationFailed" && has "/register/action"; then
		stop "$doing: that takes a right on the whole subscription: have somebody who has it do it once (az provider register --namespace NAME), then run this again"
	elif has "AuthorizationFailed" && has "resourcegroups/write"; then
		stop "$doing: you lack the right to do it: have somebody make it who may (az group create --name $group --location $location) and give you Owner on it, then run this again"
	elif has "AuthorizationPermissionMismatch|do not have the required permissions"; then
		stop "$doing: the right to do it comes with the deployment and is not everywhere yet: wait ten minutes, then run this again"
	elif has "AuthorizationFailed|LinkedAuthorizationFailed|does not have authorization"; then
		stop "$doing: you lack the right to do it: ask for Owner (or Contributor and User Access Administrator) on resource group $group, then run this again"
	elif has "ResourceGroupBeingDeleted|being deleted|deprovisioning"; then
		stop "resource group $group is still being deleted: az group wait --deleted --name $group, then run this again"
	elif has "DeploymentActive"; then
		stop "another deployment to $group is running: wait for it (az deployment group list --resource-group $group --output table), then run this again"
	elif has "InvalidResourceGroupLocation"; then
		stop "resource group $group is in another region already: leave --location as it was, or take another --group"
	elif has "InsufficientQuota|QuotaExceeded|OverQuota|exceed.*quota|quota.*exceed|Current Limit|SkuNotAvailable"; then
		stop "$doing: the subscription's quota in $location is used up: ask for more (portal: Quotas), choose smaller sizes in $parameters, or another --location with a new --group; details in $kept"
	elif has "ObjectIsDeletedButRecoverable|deleted but recoverable"; then
		secret=$(grep -Eo "Secret [A-Za-z0-9-]+ is (currently )?in a deleted" "$kept" | head -n 1 | cut -d ' ' -f 2 || true)
		stop "$doing: the secret ${secret:-NAME} was deleted and its name is kept for 90 days: az keyvault secret recover --vault-name ${vault:-VAULT} --name ${secret:-NAME}, then run this again; to change a secret, set a new value and delete nothing"
	elif has "FlagMustBeSetForRestore|soft.deleted|DeletedVault|existing in deleted state"; then
		stop "$doing: something of the same name was deleted and is kept for a while: az keyvault recover --name NAME, or az cognitiveservices account purge --name NAME --resource-group $group --location $location, then run this again; details in $kept"
	elif has "AlreadyExists|AlreadyTaken|NameUnavailable|NamespaceUnavailable|NameNotAvailable|CustomDomainInUse|NamespaceNotAvailable|given name .* already exists|name is already (taken|in use)"; then
		stop "$doing: a name is taken by somebody else: names are made of the prefix in $parameters and of the group, so choose another prefix or another --group, then run this again; details in $kept"
	elif has "ModelNotFound|ServiceModelDeprecated|DeploymentModelNotSupported|InvalidResourceProperties.*model|model .* (not supported|not available)"; then
		stop "$doing: a model is not to be had in that region or version: az cognitiveservices model list --location $location --output table, then mend models or aiLocation in $parameters; details in $kept"
	elif has "LocationNotAvailable|not available (in|for) (the )?(location|region)|LocationIsOfferRestricted|does not support .*(region|location)"; then
		stop "$doing: region $location does not offer it: take another --location with a new --group; details in $kept"
	elif has "MissingSubscriptionRegistration|SubscriptionNotRegistered"; then
		stop "$doing: a resource provider is still being registered: wait five minutes, then run this again"
	elif has "RequestDisallowedByPolicy|disallowed by policy"; then
		stop "$doing: a policy of your company forbids it: ask whoever keeps it for an exception, or mend $parameters; which and why is in $kept"
	elif has "AllocationFailed|InsufficientResources|InsufficientCapacity|ServerIsBusy|out of capacity|no available (instances|capacity)"; then
		stop "$doing: region $location has no room at the moment: run this again in an hour, or take another --location with a new --group; details in $kept"
	elif has "AnotherOperationInProgress|another operation|OperationInProgress"; then
		stop "$doing: Azure is still at an earlier change: wait five minutes, then run this again"
	elif has "Bicep CLI|install Bicep"; then
		stop "az cannot fetch its Bicep compiler: az bicep install (from a network that reaches downloads.bicep.azure.com), then run this again"
	elif has "CERTIFICATE_VERIFY_FAILED|certificate verify failed"; then
		stop "$doing: something on the way shows a certificate of its own, a company's proxy as a rule: set REQUESTS_CA_BUNDLE to its authorities' file, then run this again"
	elif has "unrecognized arguments|misspelled or not recognized|is not in the .* command group"; then
		stop "this az is too old for what is asked of it: az upgrade, then run this again"
	elif has "Connection aborted|establish a new connection|Max retries exceeded|Name or service not known|name resolution|timed out|Connection (reset|refused)|Failed to resolve|getaddrinfo|ProxyError|Network is unreachable|EOF occurred|Remote end closed|ServiceUnavailable|GatewayTimeout|BadGateway"; then
		stop "$doing: the network was cut: what is done is done, run this again and it goes on from there"
	fi
	reason=$(innermost <"$kept")
	# Some services put a whole answer of another into their message, as text.
	[[ $reason != *'\"message\"'* ]] || reason=$(innermost <<<"${reason//\\\"/\"}")
	reason=${reason:-$(grep -v '^[[:space:]]*$' "$kept" | tail -n 1 || true)}
	reason=${reason:-it ended without a word}
	stop "$doing: ${reason:0:300}; all of it in $kept; mend that, then run this again"
}

# look WHAT ABSENT COMMAND...: run it for its answer, which is then in $answer; empty where az says
# what ABSENT matches.
look() {
	local doing=$1 absent=$2
	shift 2
	answer=
	if [ -n "$dry" ]; then
		quoted "$@"
		return
	fi
	if ! answer=$("$@" 2>"$work/said"); then
		answer=
		if [ -z "$absent" ] || ! grep -Eiq "$absent" "$work/said"; then explain "$doing"; fi
	fi
	[ "$answer" != None ] || answer=
}

# ask WHAT COMMAND...: the same for what is there in any case.
ask() { look "$1" "" "${@:2}"; }

# need SAMPLE WHAT: there is an answer; in a dry run it is the sample.
need() {
	[ -z "$dry" ] || answer=$1
	[ -n "$answer" ] || stop "$2"
}

# ours WHAT SUFFIX COMMAND...: the name of what main.bicep made of a kind, empty where there is none.
# A group may have others' things, too, and those of a hub of another prefix.
ours() {
	ask "$1" "${@:3}" --query "[?starts_with(name, '$prefix-') && ends_with(name, '$2')].name" --output tsv
	[[ $answer != *$'\n'* ]] || stop "$1: $group has several that begin with $prefix- and end with $2 ($(paste -sd , - <<<"$answer")): take another --group, or another prefix in $parameters"
}

# of_parameters WHAT ARGUMENT...: what azure_parameters.py says is in $answer.
of_parameters() {
	answer=$(python3 "$root/scripts/azure_parameters.py" "$@" 2>"$work/said") && return
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
		stop "python3 is not here or too old: Python 3.11 or newer is needed"
	stop "$(tail -n 1 "$work/said")"
}

of_parameters facts "$parameters" "$location"
{
	read -r samples && read -r ai_location && read -r private_network && read -r send_key &&
		read -r mail_domain_name && read -r mail_domain_verified && read -r models && read -r prefix &&
		read -r hosting
} <<<"$answer"
if [ -n "$samples" ] && [ -z "$roll_back" ]; then
	[ -n "$dry" ] || stop "these of $parameters are samples: $samples; put yours in (mailDomain may be left out), then run this again"
	say "before a real run put yours in for these samples of $parameters: $samples"
fi

# --------------------------------------------------------------------------- tools, login, rights

say "tools and login"
[ -n "$dry" ] || command -v az >/dev/null || stop "az is not installed: see https://learn.microsoft.com/cli/azure/install-azure-cli, then run this again"
command -v curl >/dev/null || stop "curl is not installed: it asks the hub whether it is ready"
huntaze=$(command -v huntaze || true)
[ -n "$huntaze" ] || huntaze=$root/.venv/bin/huntaze
if [ -n "$migrate" ] && [ -z "$roll_back$dry" ]; then
	[ -x "$huntaze" ] || stop "the huntaze command, which migrates the database, is not here: make install, then run this again"
fi

ask "asking az for its version" az version --query '"azure-cli"' --output tsv
need 2.999.0 "az does not say its version: install it anew, then run this again"
az_version=$answer
minor=${az_version#2.}
minor=${minor%%.*}
# The oldest whose options are known to be these; make infra-test holds every call against it.
case $az_version in
0.* | 1.*) stop "az $az_version is too old: 2.91 or newer is needed; az upgrade, then run this again" ;;
2.*) [ "$minor" -ge 91 ] 2>/dev/null || stop "az $az_version is too old: 2.91 or newer is needed; az upgrade, then run this again" ;;
esac

if [ -n "$subscription" ]; then
	ask "choosing the subscription" az account set --subscription "$subscription" --output none
fi
account=(az account show --query "[id, user.type, user.name, name]" --output tsv)
[ -z "$subscription" ] || account+=(--subscription "$subscription")
ask "looking at the login" "${account[@]}"
nobody="az did not say who is logged in: az logout, az login, then run this again"
# Asked in a dry run, too: it reads a file of az, and says what a real run would deploy to.
if [ -n "$dry" ] && ! answer=$("${account[@]}" 2>/dev/null); then
	say "az is not here or not logged in: a real run stops here"
	answer=$'SUBSCRIPTION\nuser\nYOU\nof nobody'
fi
{ read -r subscription && read -r login_type && read -r login_name; } <<<"$answer" || stop "$nobody"
say "subscription $(sed -n 4p <<<"$answer") ($subscription), signed in as $login_name"
deployer_type=User
[ "$login_type" = user ] || deployer_type=ServicePrincipal
if [ -n "$deployer" ]; then
	answer=$deployer
elif [ "$login_type" = user ]; then
	ask "looking you up" az ad signed-in-user show --query id --output tsv
else
	ask "looking up the service principal" az ad sp show --id "$login_name" --query id --output tsv
fi
need OBJECT-ID "the directory does not know this login: give its object id with --deployer-id"
deployer=$answer

scope=/subscriptions/$subscription/resourceGroups/$group

# --------------------------------------------------------------------------- ways of running it

# Seconds. The variables are for tests.
ready_within=${HUNTAZE_DEPLOY_PATIENCE:-900}
pause=${HUNTAZE_DEPLOY_PAUSE:-15}

# wait_ready SLOT THEN: until the hub there says that it is ready, or patience ends; THEN is what holds
# in that case.
wait_ready() {
	local url=https://$app.azurewebsites.net log="az webapp log tail --resource-group $group --name $app" until
	if [ "$1" = staging ]; then
		url=https://$app-staging.azurewebsites.net
		log="$log --slot staging"
	fi
	if [ -n "$dry" ]; then
		quoted curl --fail --silent --show-error --max-time 20 "$url/readyz"
		return
	fi
	say "waiting for $url/readyz, up to $ready_within s"
	until=$(($(date +%s) + ready_within))
	while ! curl --fail --silent --show-error --max-time 20 "$url/readyz" >"$work/ready" 2>&1; do
		[ "$(date +%s)" -lt "$until" ] ||
			stop "$url/readyz is not ready after $ready_within s ($(tail -n 1 "$work/ready" | cut -c 1-200)): read its log ($log), mend it, then run this again; $2"
		sleep "$pause"
	done
}

# package_of SLOT: the address of the package that runs there is in $answer, empty where there is none.
package_of() {
	local at=(--resource-group "$group" --name "$app")
	[ "$1" = production ] || at+=(--slot "$1")
	look "reading the app's settings" "ResourceNotFound|was not found|NotFound" az functionapp config appsettings list "${at[@]}" --query "[?name=='WEBSITE_RUN_FROM_PACKAGE'] | [0].value" --output tsv
}

# The platform reads the vault again where a setting changes, else within a day only.
read_vault_again() {
	ask "having the app read the vault again" az rest --method post --url "$scope/providers/Microsoft.Web/sites/$app/config/configreferences/appsettings/refresh?api-version=2022-03-01" --output none
}

swap() {
	ask "swapping the release in" az functionapp deployment slot swap --resource-group "$group" --name "$app" --slot staging --target-slot production --output none
	ask "telling the platform its triggers" az rest --method post --url "$scope/providers/Microsoft.Web/sites/$app/syncfunctiontriggers?api-version=2024-04-01" --output none
}

if [ -n "$roll_back" ]; then
	[ "$hosting" = premium ] || stop "Flex Consumption has no slot to swap back: run this again with --package and the former package, which is in the storage account"
	ours "finding the app" -hub az functionapp list --resource-group "$group"
	need APP "there is no app in $group: nothing to roll back"
	app=$answer
	package_of production
	running=${answer##*/}
	package_of staging
	former=${answer##*/}
	if [ -z "$dry" ]; then
		[ -n "$former" ] || stop "the staging slot of $app holds no release: nothing to roll back"
		say "production runs $running, the staging slot holds $former"
		# What a deployment left there that did not end is no release to go back to. Packages are
		# named after the moment in which they were made.
		made='^hub-[0-9]{14}\.zip$'
		if [[ $running =~ $made && $former =~ $made && $former > $running ]]; then
			stop "the staging slot holds the newer release, $former: a deployment that did not end, or a roll back, left it there, and production runs $running as before; to bring the newer one in, deploy it again"
		fi
	fi
	wait_ready staging "production keeps $running"
	swap
	wait_ready production "what ran before is in the staging slot: deploy it again to have it back"
	[ -n "$dry" ] || say "the release before is back"
	exit 0
fi

# --------------------------------------------------------------------------- region and group

say "region $location"
here=$(printf '%s' "$location" | tr '[:upper:]' '[:lower:]' | tr -d ' ')
if [ "$hosting" = premium ]; then
	ask "asking where the plan is to be had" az rest --method get --url "/subscriptions/$subscription/providers/Microsoft.Web/geoRegions?sku=ElasticPremium&linuxWorkersEnabled=true&api-version=2024-04-01" --query "value[].name" --output tsv
else
	ask "asking where the plan is to be had" az functionapp list-flexconsumption-locations --query "[].name" --output tsv
fi
offered=$(tr '[:upper:]' '[:lower:]' <<<"$answer" | tr -d ' ')
if [ -z "$dry" ] && ! grep -qx "$here" <<<"$offered"; then
	stop "region $location does not offer the plan ($hosting): take another --location, such as $(head -n 3 <<<"$offered" | paste -sd ' ' -)"
fi
ask "asking for the models of $ai_location" az cognitiveservices model list --location "$ai_location" --query "[].model.name" --output tsv
if [ -z "$dry" ]; then
	for model in $models; do
		grep -qx "$model" <<<"$answer" ||
			stop "region $ai_location does not offer the model $model: set aiLocation in $parameters to one that does, or take it out of models and modelOrder"
	done
fi

say "resource group $group"
ask "making the group" az group create --name "$group" --location "$location" --tags application=huntaze-notifications --output none
ask "looking at your rights" az role assignment list --assignee "$deployer" --scope "$scope" --include-inherited --include-groups --query "[].roleDefinitionName" --output tsv
if [ -z "$dry" ]; then
	holds() { grep -qx "$1" <<<"$answer"; }
	holds Owner || { holds Contributor && { holds "User Access Administrator" || holds "Role Based Access Control Administrator"; }; } ||
		stop "you lack rights on $group: Owner, or Contributor and User Access Administrator, is needed, since the hub's identity is given roles; ask for one, then run this again"
fi
ask "asking which resource providers are registered" az provider list --query "[?registrationState=='Registered'].namespace" --output tsv
registered=$answer
for provider in ServiceBus Web SignalRService Communication EventGrid DBforPostgreSQL KeyVault Insights OperationalInsights CognitiveServices ManagedIdentity Storage Network App; do
	! grep -qix "Microsoft.$provider" <<<"$registered" || continue
	[ -n "$dry" ] || say "registering Microsoft.$provider, a minute or two"
	ask "registering Microsoft.$provider" az provider register --namespace "Microsoft.$provider" --wait --output none
done

# --------------------------------------------------------------------------- secrets

# What is in the vault stays: the stored data is sealed with it.
say "secrets"
ours "looking for the vault" -kv az keyvault list --resource-group "$group"
vault=$answer

# read_secret VAULT NAME: the secret is in $answer, empty where there is none.
read_secret() {
	asked_vault=$1
	answer=
	[ -n "$1" ] || return 0
	look "reading the secret $2 of $1" "SecretNotFound|was not found in this key vault" az keyvault secret show --vault-name "$1" --name "$2" --query value --output tsv
	asked_vault=
}

[ -z "$dry" ] || vault=VAULT
names=()
for name in database-password admin-key encryption-keys user-token-secret email-reports-key; do
	names+=("$name")
	read_secret "$vault" "$name"
	printf '%s' "$answer" >"$work/$name"
done
read_secret "$vault" database-url
database_before=$answer

if [ -n "$secrets_from" ]; then
	mkdir "$work/from"
	for name in "${names[@]}"; do
		case $secrets_from in
		*/*) answer=$(cat "${secrets_from%/}/$name" 2>/dev/null || true) ;;
		*) read_secret "$secrets_from" "$name" ;;
		esac
		printf '%s' "$answer" >"$work/from/$name"
	done
fi

# --------------------------------------------------------------------------- infrastructure

say "infrastructure"
ours "looking for the app" -hub az functionapp list --resource-group "$group"
app=$answer
[ -z "$dry" ] || app=APP
for slot in production staging; do
	: >"$work/package.$slot"
	[ -n "$app" ] && [ "$hosting" = premium ] || continue
	# A group that was left half made may have the one without the other.
	package_of "$slot"
	printf '%s' "$answer" >"$work/package.$slot"
done
ask "looking for the budget" az rest --method get --url "$scope/providers/Microsoft.Consumption/budgets?api-version=2023-05-01" --query "value[?starts_with(name, '$prefix-') && ends_with(name, '-budget')] | [0].properties.timePeriod.startDate" --output tsv
printf '%s' "$answer" >"$work/budget"

if [ -n "$dry" ]; then
	[ -z "$secrets_from" ] || say "the secrets are those of $secrets_from where $group has none"
	quoted python3 "$root/scripts/azure_parameters.py" secrets "$work" "$deployer" "$deployer_type"
else
	of_parameters secrets "$work" "$deployer" "$deployer_type"
	[ -z "$answer" ] || say "secrets that are new: $answer"
	say "deploying: up to half an hour at the first time, some minutes later (portal: $group, Deployments)"
fi

deployment=huntaze-$(date -u +%Y%m%d%H%M%S)
ask "deploying the infrastructure" az deployment group create --resource-group "$group" --name "$deployment" --template-file "$root/infra/main.bicep" --parameters "@$parameters" --parameters "@$work/secret.parameters.json" --parameters "location=$location" --output none
ask "reading what was made" az deployment group show --resource-group "$group" --name "$deployment" --query "properties.outputs.[appName.value, url.value, storageName.value, packagesUrl.value, vaultName.value, databaseServer.value, databaseHost.value, serviceBusName.value, reportsTopic.value, mailDomainId.value, insightsId.value]" --output tsv
less="the deployment $deployment says less than it should: run this again"
need $'APP\nhttps://APP.azurewebsites.net\nSTORAGE\nhttps://STORAGE.blob.core.windows.net/packages\nVAULT\nSERVER\nSERVER.postgres.database.azure.com\nBUS\nTOPIC\nDOMAIN\nINSIGHTS' "$less"
{
	read -r app && read -r url && read -r storage && read -r packages_url && read -r vault && read -r server &&
		read -r database_host && read -r bus && read -r reports_topic && read -r mail_domain && read -r insights
} <<<"$answer" || stop "$less"
# Until the swap, what runs signs in with what it has read: minutes of a database that refuses it.
if [ -n "$dry" ]; then
	say "only where the database or its password is a new one:"
	read_vault_again
elif [ -n "$database_before" ] && [[ $database_before != *":$(cat "$work/database-password")@$database_host:"* ]]; then
	read_vault_again
fi

# --------------------------------------------------------------------------- database

if [ -n "$migrate" ]; then
	say "database"
	if [ "$private_network" = false ]; then
		if [ -z "$client_ip" ]; then
			address=(curl --fail --silent --max-time 20 https://checkip.amazonaws.com)
			if [ -n "$dry" ]; then quoted "${address[@]}"; else answer=$("${address[@]}" || true); fi
			[[ $answer =~ ^[0-9.]+$ ]] || answer=
			need ADDRESS "this machine's public address is not to be found: give it with --client-ip"
			client_ip=$answer
		fi
		[ -n "$dry" ] || opened=$server
		ask "opening the database to this machine" az postgres flexible-server firewall-rule create --resource-group "$group" --server-name "$server" --name deploy --start-ip-address "$client_ip" --end-ip-address "$client_ip" --output none
	fi
	authorities=/etc/ssl/certs/ca-certificates.crt
	for file in /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
		[ -r "$authorities" ] || authorities=$file
	done
	if [ -n "$dry" ]; then
		quoted "$huntaze" migrate
		quoted az postgres flexible-server firewall-rule delete --resource-group "$group" --server-name "$server" --name deploy --yes --output none
	else
		HUNTAZE_DATABASE_URL="postgresql://huntaze:$(cat "$work/database-password")@$database_host:5432/huntaze?sslmode=verify-full&sslrootcert=$authorities" "$huntaze" migrate >"$work/migrated" 2>&1 ||
			stop "the database was not migrated ($(tail -n 1 "$work/migrated" | cut -c 1-200)): the app still runs its former release; mend that, then run this again (from inside the network where it is private; --client-ip if this machine has several addresses)"
		if [ -n "$opened" ]; then
			ask "closing the database again" az postgres flexible-server firewall-rule delete --resource-group "$group" --server-name "$server" --name deploy --yes --output none
			opened=
		fi
	fi
fi

# --------------------------------------------------------------------------- code

say "code"
if [ -z "$package" ]; then
	package=$work/hub.zip
	if [ -n "$dry" ]; then
		quoted python3 "$root/scripts/azure_package.py" "$package"
	else
		python3 "$root/scripts/azure_package.py" "$package" >"$work/packed" 2>&1 ||
			stop "the package was not made ($(tail -n 1 "$work/packed" | cut -c 1-200)): mend that, then run this again"
	fi
fi
blob=hub-$(date -u +%Y%m%d%H%M%S).zip
upload=(az storage blob upload --account-name "$storage" --container-name packages --name "$blob" --file "$package" --auth-mode login --output none)
if [ -n "$dry" ]; then
	quoted "${upload[@]}"
else
	# A right that was given a moment ago is not everywhere at once.
	tries=0
	until "${upload[@]}" 2>"$work/said"; do
		tries=$((tries + 1))
		grep -Eiq "AuthorizationPermissionMismatch|not authorized|do not have the required permissions" "$work/said" && [ "$tries" -lt 30 ] || explain "uploading the package"
		sleep "$pause"
	done
fi

if [ "$hosting" = premium ]; then
	ask "putting the package into the staging slot" az functionapp config appsettings set --resource-group "$group" --name "$app" --slot staging --settings "WEBSITE_RUN_FROM_PACKAGE=$packages_url/$blob" --output none
	wait_ready staging "production runs the release before"
	swap
	wait_ready production "the new release is in production: take it back with --roll-back"
else
	ask "publishing the package" az functionapp deployment source config-zip --resource-group "$group" --name "$app" --src "$package" --build-remote false --output none
	wait_ready production "take it back by deploying the former package (docs/azure.md, Roll back)"
fi

say "delivery reports of mails"
ask "subscribing to delivery reports" az deployment group create --resource-group "$group" --name "$deployment-reports" --template-file "$root/infra/delivery-reports.bicep" --parameters "reportsTopic=$reports_topic" "vaultName=$vault" "hubUrl=$url" --output none

# --------------------------------------------------------------------------- what to do with it

send=
if [ "$send_key" = true ]; then
	ask "reading the key that Vercel sends with" az servicebus topic authorization-rule keys list --resource-group "$group" --namespace-name "$bus" --topic-name huntaze-jobs --name vercel-send --query primaryConnectionString --output tsv
	send=$answer
fi

[ -z "$dry" ] || exit 0
cat <<TEXT
== the hub is ready at $url
Settings for Vercel (each of them Production, Sensitive):
HUNTAZE_URL=$url
SERVICEBUS_CONNECTION_SEND=$send
HUNTAZE_API_KEY: made in $url/console, one for each tenant
HUNTAZE_USER_TOKEN_SECRET: az keyvault secret show --vault-name $vault --name user-token-secret --query value --output tsv
The admin's key: az keyvault secret show --vault-name $vault --name admin-key --query value --output tsv
Next: HUNTAZE_URL=$url HUNTAZE_API_KEY=<the admin's key> scripts/test-workers.sh --insights $insights
TEXT
if [ -n "$mail_domain_name" ] && [ "$mail_domain_verified" != true ]; then
	cat <<TEXT
Mails wait: put these records into DNS, have Azure verify them, set mailDomainVerified, run this again:
az resource show --ids $mail_domain --query properties.verificationRecords
TEXT
fi
