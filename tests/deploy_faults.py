"""What goes wrong while deploying: what `az` says, and the words of the one line that follows."""

from tests.fake_azure import REGIONS, Answers

NETWORK = (
    "HTTPSConnectionPool(host='management.azure.com', port=443): Max retries exceeded with url"
)
CREATE = "deployment group create"
ANY = "version"
"""The first thing that is asked, for what may be said of anything: the rest need not run."""

GROUPS = "Microsoft.Resources/subscriptions/resourcegroups"
RECOVERABLE = (
    "Secret email-reports-key is currently in a deleted but recoverable state, and its name cannot"
    " be reused; in this state, the secret can only be recovered or purged."
)

FAULTS: dict[str, tuple[Answers, tuple[str, ...]]] = {
    "not logged in": (
        {"account show": (1, "ERROR: Please run 'az login' to setup account.")},
        ("not logged in", "az login"),
    ),
    "login ran out": (
        {"group create": (1, "AADSTS700082: The refresh token has expired due to inactivity.")},
        ("not logged in", "az login"),
    ),
    "wrong subscription": (
        {
            "account set": (
                1,
                "ERROR: The subscription of 's-9' doesn't exist in cloud 'AzureCloud'",
            )
        },
        ("cannot find that subscription", "az account list"),
    ),
    "subscription switched off": (
        {ANY: (1, "(ReadOnlyDisabledSubscription) The subscription is disabled")},
        ("switched off", "--subscription"),
    ),
    "may not make the group": (
        {"group create": (1, f"(AuthorizationFailed) The client 'ada' may not {GROUPS}/write")},
        ("lack the right", "az group create --name huntaze-beta", "give you Owner on it"),
    ),
    "may not deploy": (
        {CREATE: (1, "(AuthorizationFailed) The client 'ada' does not have authorization")},
        ("lack the right", "Owner", "huntaze-beta"),
    ),
    "may not register a provider": (
        {"provider register": (1, "(AuthorizationFailed) action 'Microsoft.Web/register/action'")},
        ("right on the whole subscription", "az provider register"),
    ),
    "may not give roles": (
        {"role assignment list": "Contributor"},
        ("lack rights", "User Access Administrator"),
    ),
    "may not look itself up": (
        {"ad signed-in-user show": (1, "Insufficient privileges to complete the operation.")},
        ("may not look itself up", "--deployer-id"),
    ),
    "region without the plan": (
        {REGIONS: "West Europe\nNorth Europe"},
        ("eastus2 does not offer the plan", "--location, such as westeurope northeurope"),
    ),
    "region without a model": (
        {"cognitiveservices model list": "Phi-4-mini-instruct"},
        ("does not offer the model Phi-4-multimodal-instruct", "aiLocation"),
    ),
    "model refused": (
        {ANY: (1, "InvalidResourceProperties: The specified model 'X' is not supported")},
        ("model", "az cognitiveservices model list"),
    ),
    "region refused": (
        {
            ANY: (
                1,
                "(LocationNotAvailableForResourceType) The provided location is not available",
            )
        },
        ("does not offer it", "--location"),
    ),
    "database not in the region": (
        {ANY: (1, "LocationIsOfferRestricted: Subscriptions are restricted from provisioning")},
        ("does not offer it", "--location"),
    ),
    "quota": (
        {CREATE: (1, "InsufficientQuota: This operation require 5 new capacity in quota Tokens")},
        ("quota", "Quotas", "smaller sizes"),
    ),
    "quota of the plan": (
        {ANY: (1, "SubscriptionIsOverQuotaForSku: Current Limit (Premium VMs): 0")},
        ("quota", "Quotas"),
    ),
    "name taken": (
        {
            CREATE: (
                1,
                "(StorageAccountAlreadyTaken) The storage account named hz is already taken.",
            )
        },
        ("name is taken", "another prefix or another --group"),
    ),
    "name of a deleted vault": (
        {CREATE: (1, "A vault with the same name already exists in deleted state, soft-deleted")},
        ("was deleted and is kept", "az keyvault recover"),
    ),
    "name of a deleted secret": (
        {
            CREATE: (
                1,
                f"(ObjectIsDeletedButRecoverable) {RECOVERABLE}",
            )
        },
        ("az keyvault secret recover --vault-name VAULT --name email-reports-key", "90 days"),
    ),
    "group in another region": (
        {"group create": (1, "(InvalidResourceGroupLocation) Invalid resource group location")},
        ("another region already", "--group"),
    ),
    "group being deleted": (
        {
            ANY: (
                1,
                "(ResourceGroupBeingDeleted) The resource group is in deprovisioning",
            )
        },
        ("still being deleted", "az group wait"),
    ),
    "another deployment is running": (
        {ANY: (1, "(DeploymentActive) The deployment with resource id is active")},
        ("another deployment", "wait for it"),
    ),
    "another directory": (
        {
            ANY: (
                1,
                "(InvalidAuthenticationTokenTenant) The token is from the wrong issuer",
            )
        },
        ("another directory", "az login --tenant"),
    ),
    "forbidden by a policy": (
        {ANY: (1, "(RequestDisallowedByPolicy) Resource 'hz-kv' was disallowed by policy.")},
        ("policy", "exception"),
    ),
    "no room": (
        {ANY: (1, '{"code": "ServiceAllocationFailed", "message": "Allocation failed."}')},
        ("no room", "another --location"),
    ),
    "no compiler": (
        {ANY: (1, "Error while attempting to download Bicep CLI: <urlopen error>")},
        ("az bicep install",),
    ),
    "a proxy's certificate": (
        {
            ANY: (
                1,
                "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]",
            )
        },
        ("REQUESTS_CA_BUNDLE",),
    ),
    "network cut while deploying": ({CREATE: (1, NETWORK)}, ("network was cut", "goes on from")),
    "network cut at the start": ({"version": (1, NETWORK)}, ("network was cut", "run this again")),
    "network cut while uploading": (
        {"storage blob upload": (1, "('Connection aborted.', ConnectionResetError(104))")},
        ("network was cut", "goes on from there"),
    ),
    "az of another age": ({"version": "1.9.0"}, ("az 1.9.0 is too old", "az upgrade")),
    "no subscription": (
        {"account show": (1, "No subscription found. Run 'az account set' to select one.")},
        ("no subscription", "az login --tenant"),
    ),
    "the app's name taken": (
        {CREATE: (1, "(Conflict) Website with given name hz-hub already exists.")},
        ("taken by somebody else", "another prefix"),
    ),
    "secret switched off": (
        {
            "keyvault list": "hz-kv",
            "keyvault secret show": (1, "(Forbidden) SecretDisabled: not allowed on a vault's"),
        },
        ("switched off", "Enabled"),
    ),
    "a deployment that a vault forbids": (
        {CREATE: (1, "(Forbidden) Microsoft.KeyVault/vaults: the operation is not allowed")},
        ("mend that, then run this again",),
    ),
    "two hubs' vaults": (
        {"keyvault list": "huntaze-aaaaaaaa-kv\nhuntaze-bbbbbbbb-kv"},
        ("several", "huntaze-aaaaaaaa-kv,huntaze-bbbbbbbb-kv", "another --group"),
    ),
    "old az": ({"version": "2.55.0"}, ("az 2.55.0 is too old", "az upgrade")),
    "older az than it says": (
        {"functionapp deployment slot swap": (2, "unrecognized arguments: --target-slot")},
        ("too old", "az upgrade"),
    ),
    "vault that cannot be read": (
        {
            "keyvault list": "hz-kv",
            "keyvault secret show": (1, "(Forbidden) Caller is not authorized on vault hz-kv"),
        },
        ("lock the hub out", "Key Vault Secrets Officer"),
    ),
    "provider not registered yet": (
        {ANY: (1, "MissingSubscriptionRegistration: not registered to use namespace")},
        ("still being registered", "five minutes"),
    ),
    "nobody of that name": (
        {"ad signed-in-user show": ""},
        ("does not know this login", "--deployer-id"),
    ),
    "a deployment that says nothing": (
        {"deployment group show": ""},
        ("says less than it should", "run this again"),
    ),
    "errors within errors": (
        {
            ANY: (
                1,
                '{"error": {"message": "One failed", "details": [{"message": "A \\"B\\"."}]}}',
            )
        },
        (': A \\"B\\".;', "run this again"),
    ),
    "an answer within an error": (
        {ANY: (1, r'{"message": "{\r\n \"error\": {\"message\": \"No such SKU.\"}}"}')},
        (": No such SKU.;",),
    ),
    "not a word": ({"group create": (1, "")}, ("making the group: it ended without a word",)),
    "something new": (
        {CREATE: (1, "\nERROR: (Odd) The moon is in the wrong place.\n")},
        ("The moon is in the wrong place.", "run this again"),
    ),
}
