// The notification hub in one resource group. docs/azure.md says how to deploy, watch and undo it.

targetScope = 'resourceGroup'

@description('Begins every name: a letter, then two to nine letters and digits.')
@minLength(3)
@maxLength(10)
param prefix string = 'huntaze'

param location string = resourceGroup().location

@description('Where the models are; Phi-4 and DeepSeek are not in every region.')
param aiLocation string = location

@description('premium is always warm and has a staging slot; flex is paid by the second and sleeps.')
@allowed([
  'premium'
  'flex'
])
param hosting string = 'premium'

@allowed([
  'EP1'
  'EP2'
  'EP3'
])
param planSku string = 'EP1'

@description('Function instances that are always there. 0 is for Flex, which then sleeps; Premium has at least one.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 1

@description('The most function instances there are at once. Flex takes no bound below 40, so that a lower one is 40 there, and each function that has messages has as many.')
@minValue(1)
@maxValue(100)
param maximumInstances int = 2

@allowed([
  'Standard'
  'Premium'
])
param serviceBusSku string = 'Standard'

@allowed([
  1
  2
  4
  8
  16
])
param serviceBusUnits int = 1

@description('Gives Vercel a key that may send jobs and nothing else. Off, the bus takes no keys at all.')
param sendKey bool = true

@description('Lets the platform read backlogs to scale by them, which takes the right to manage the two topics.')
param scaleByBacklog bool = true

@allowed([
  'webpubsub'
  'signalr'
])
param realtime string = 'webpubsub'

param realtimeHub string = 'huntaze'

@allowed([
  'Free_F1'
  'Standard_S1'
  'Premium_P1'
])
param realtimeSku string = 'Standard_S1'

@description('1,000 open browsers each.')
@minValue(1)
@maxValue(100)
param realtimeUnits int = 1

@description('A mail domain of yours. Empty: one of Azure\'s, for trying: 10 mails an hour.')
param mailDomain string = ''

@description('Set it once Azure has verified the domain: docs/azure.md says how.')
param mailDomainVerified bool = false

@description('What Azure lets the subscription send: mails a minute and an hour. More by a support ticket, for a domain of yours.')
param mailLimits string = empty(mailDomain) ? '5/m,10/h' : '30/m,100/h'

param mailSender string = 'notifications'

@allowed([
  'Europe'
  'United States'
])
param mailDataLocation string = 'Europe'

param databaseSku string = 'Standard_B1ms'

@allowed([
  'Burstable'
  'GeneralPurpose'
])
param databaseTier string = 'Burstable'

@description('Grows by itself where it gets full, and can never shrink: not less than what it has grown to.')
@minValue(32)
param databaseStorageGb int = 32

@minValue(7)
@maxValue(35)
param databaseBackupDays int = 7

@description('A second server in another zone that takes over by itself. Not for Burstable.')
param databaseHighAvailability bool = false

@description('A copy of the backups in the paired region. Cannot be changed afterwards.')
param databaseGeoRedundantBackup bool = false

@description('A server in this group that a backup was restored to. The hub uses it from then on; the one before stays as it is.')
@maxLength(63)
param restoredServer string = ''

@description('Whether what can be in three zones is. A Premium plan then takes alwaysReadyInstances and maximumInstances of 3 at least.')
param zoneRedundant bool = false

@description('A network of our own, and services that nobody outside reaches. Whoever deploys must be inside, too.')
param privateNetwork bool = false

@description('name, format, version and capacity (thousand tokens a minute) of each model.')
param models array

@description('The models of each kind of job, in the order in which they are asked.')
param modelOrder object

@description('Pages that may call the API: https://app.example.com.')
param allowedOrigins array = []

@description('Where the app is; mails link to it.')
param appUrl string = ''

param alertEmail string

@minValue(1)
param monthlyBudgetUsd int
param budgetStart string = '${utcNow('yyyy-MM')}-01'

@description('Messages of one topic that may wait at every moment of a quarter of an hour before somebody is woken.')
@minValue(1)
@maxValue(10000)
param backlogMessages int = 500
param logRetentionDays int = 30

@description('Gigabytes of logs a day, after which none are taken until the next; -1 is no bound. 0 would be no logs at all, and is refused.')
@minValue(-1)
param logDailyCapGb int = 1

@description('Who deploys: may upload packages and read secrets.')
param deployerId string = ''

@allowed([
  'User'
  'ServicePrincipal'
])
param deployerType string = 'User'

@description('The package that runs now and the one in the staging slot, so that a new deployment does not take them away.')
param packageUrl string = ''
param stagingPackageUrl string = ''

@secure()
param databasePassword string

@secure()
param adminKey string

@secure()
param encryptionKeys string

@secure()
param userTokenSecret string

@secure()
param emailReportsKey string

// Azure would refuse some values after ten minutes, each in its own words. To ask for a
// property that is not there ends the deployment at once, with the property's name; any() keeps the
// compiler from looking first.
var letters = 'abcdefghijklmnopqrstuvwxyz'
var found = [for place in range(0, length(prefix)): contains('${letters}0123456789', substring(toLower(prefix), place, 1)) ? 'right' : 'wrong']
var startIsRight = contains(letters, toLower(take(prefix, 1)))
var nameIsRight = startIsRight && !contains(found, 'wrong')
var zonesAreRight = !zoneRedundant || hosting != 'premium' || (alwaysReadyInstances >= 3 && maximumInstances >= 3)
var others = !zonesAreRight ? 'zoneRedundant: a Premium plan in three zones takes alwaysReadyInstances and maximumInstances of 3 at least' : logDailyCapGb == 0 ? 'logDailyCapGb: 0 is no logs at all: take 1 or more, or -1 for no bound' : 'right'
var verdict = nameIsRight ? others : 'prefix: begin it with a letter, then two to nine letters and digits, and nothing else'
var prefixes = any({
  right: toLower(prefix)
})
var checkedPrefix = prefixes[verdict]
var unique = take(uniqueString(resourceGroup().id), 8)
var name = '${checkedPrefix}-${unique}'
var databaseLogin = 'huntaze'
var restored = !empty(restoredServer)
// By what says that it is there: the vault names no server before.
var databaseServerName = restored ? restoredDatabase.outputs.name : '${name}-db'
var publicAccess = privateNetwork ? 'Disabled' : 'Enabled'
var busPublicAccess = privateNetwork && !sendKey && serviceBusSku == 'Premium' ? 'Disabled' : 'Enabled'
var premium = hosting == 'premium'
var signalr = realtime == 'signalr'
var tags = {
  application: 'huntaze-notifications'
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${name}-identity'
  location: location
  tags: tags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    location: location
    name: name
    tags: tags
    principalId: identity.properties.principalId
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
  }
}

module serviceBus 'modules/service-bus.bicep' = {
  name: 'service-bus'
  params: {
    location: location
    name: '${name}-bus'
    tags: tags
    sku: serviceBusSku
    capacity: serviceBusUnits
    principalId: identity.properties.principalId
    sendKey: sendKey
    scaleByBacklog: scaleByBacklog
    publicNetworkAccess: busPublicAccess
    workspaceId: monitoring.outputs.workspaceId
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    location: location
    name: '${checkedPrefix}${unique}'
    tags: tags
    principalId: identity.properties.principalId
    deployerId: deployerId
    deployerType: deployerType
    zoneRedundant: zoneRedundant
    publicNetworkAccess: publicAccess
  }
}

module restoredDatabase 'modules/restored-database.bicep' = if (restored) {
  name: 'restored-database'
  params: {
    name: restoredServer
  }
}

module database 'modules/database.bicep' = {
  name: 'database'
  params: {
    location: restored ? restoredDatabase.outputs.location : location
    name: databaseServerName
    tags: tags
    administratorLogin: databaseLogin
    administratorPassword: databasePassword
    sku: databaseSku
    tier: databaseTier
    storageGb: databaseStorageGb
    backupDays: databaseBackupDays
    highAvailability: databaseHighAvailability
    geoRedundantBackup: databaseGeoRedundantBackup
    publicNetworkAccess: publicAccess
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  params: {
    location: location
    name: '${name}-kv'
    tags: tags
    principalId: identity.properties.principalId
    deployerId: deployerId
    deployerType: deployerType
    secrets: {
      'database-url': 'postgresql://${databaseLogin}:${databasePassword}@${databaseServerName}.postgres.database.azure.com:5432/huntaze?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt'
      'database-password': databasePassword
      'admin-key': adminKey
      'encryption-keys': encryptionKeys
      'user-token-secret': userTokenSecret
      'email-reports-key': emailReportsKey
    }
    publicNetworkAccess: publicAccess
    workspaceId: monitoring.outputs.workspaceId
  }
}

module push 'modules/realtime.bicep' = {
  name: 'realtime'
  params: {
    location: location
    name: name
    tags: tags
    principalId: identity.properties.principalId
    hub: realtimeHub
    sku: realtimeSku
    units: realtimeUnits
    signalr: signalr
    allowedOrigins: allowedOrigins
    workspaceId: monitoring.outputs.workspaceId
  }
}

module mail 'modules/email.bicep' = {
  name: 'mail'
  params: {
    name: name
    tags: tags
    principalId: identity.properties.principalId
    domain: mailDomain
    domainVerified: mailDomainVerified
    senderName: mailSender
    dataLocation: mailDataLocation
  }
}

module ai 'modules/ai.bicep' = {
  name: 'ai'
  params: {
    location: aiLocation
    name: '${name}-ai'
    tags: tags
    principalId: identity.properties.principalId
    models: models
    publicNetworkAccess: publicAccess
  }
}

var storageSuffix = environment().suffixes.storage
var privateTargets = [
  {
    name: 'vault'
    id: vault.outputs.id
    group: 'vault'
    zone: 'privatelink.vaultcore.azure.net'
  }
  {
    name: 'blob'
    id: storage.outputs.id
    group: 'blob'
    zone: 'privatelink.blob.${storageSuffix}'
  }
  {
    name: 'queue'
    id: storage.outputs.id
    group: 'queue'
    zone: 'privatelink.queue.${storageSuffix}'
  }
  {
    name: 'table'
    id: storage.outputs.id
    group: 'table'
    zone: 'privatelink.table.${storageSuffix}'
  }
  {
    // What a door leads to cannot be changed: another server gets another.
    name: restored ? 'database-${uniqueString(restoredServer)}' : 'database'
    id: database.outputs.id
    group: 'postgresqlServer'
    zone: 'privatelink.postgres.database.azure.com'
  }
  {
    name: 'ai'
    id: ai.outputs.id
    group: 'account'
    zone: 'privatelink.services.ai.azure.com'
  }
]
var privateBus = [
  {
    name: 'bus'
    id: serviceBus.outputs.id
    group: 'namespace'
    zone: 'privatelink.servicebus.windows.net'
  }
]

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  params: {
    location: location
    name: name
    tags: tags
    flex: !premium
    targets: serviceBusSku == 'Premium' ? concat(privateTargets, privateBus) : privateTargets
  }
}

var appSubnetId = privateNetwork ? '${resourceId('Microsoft.Network/virtualNetworks', '${name}-network')}/subnets/app' : ''
var secretsUri = '${vault.outputs.uri}secrets'
var realtimeSettings = signalr ? {
  HUNTAZE_SIGNALR_CONNECTION: push.outputs.endpoint
} : {
  HUNTAZE_WEBPUBSUB_CONNECTION: push.outputs.endpoint
}
var optionalSettings = empty(appUrl) ? {} : {
  HUNTAZE_APP_URL: appUrl
}
var commonSettings = {
  AzureWebJobsStorage__accountName: storage.outputs.name
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AZURE_CLIENT_ID: identity.properties.clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identity.properties.clientId}'
  PYTHON_ENABLE_OPENTELEMETRY: 'true'
  SERVICEBUS_CONNECTION__fullyQualifiedNamespace: serviceBus.outputs.endpoint
  SERVICEBUS_CONNECTION__credential: 'managedidentity'
  SERVICEBUS_CONNECTION__clientId: identity.properties.clientId
  HUNTAZE_BUS: 'servicebus'
  HUNTAZE_DATABASE_URL: '@Microsoft.KeyVault(SecretUri=${secretsUri}/database-url/)'
  HUNTAZE_ADMIN_KEY: '@Microsoft.KeyVault(SecretUri=${secretsUri}/admin-key/)'
  HUNTAZE_ENCRYPTION_KEYS: '@Microsoft.KeyVault(SecretUri=${secretsUri}/encryption-keys/)'
  HUNTAZE_USER_TOKEN_SECRET: '@Microsoft.KeyVault(SecretUri=${secretsUri}/user-token-secret/)'
  HUNTAZE_REALTIME: realtime
  HUNTAZE_REALTIME_HUB: realtimeHub
  HUNTAZE_EMAIL: 'acs'
  HUNTAZE_EMAIL_FROM: mail.outputs.from
  HUNTAZE_ACS_LIMITS: mailLimits
  HUNTAZE_ACS_CONNECTION: mail.outputs.endpoint
  HUNTAZE_EMAIL_REPORTS_KEY: '@Microsoft.KeyVault(SecretUri=${secretsUri}/email-reports-key/)'
  HUNTAZE_AI_ENDPOINT: ai.outputs.endpoint
  HUNTAZE_AI_MODELS_VIDEO: join(modelOrder.video, ',')
  HUNTAZE_AI_MODELS_CHAT: join(modelOrder.chat, ',')
  HUNTAZE_AI_MODELS_SUGGEST: join(modelOrder.suggest, ',')
  HUNTAZE_AI_MODELS_ANALYZE: join(modelOrder.analyze, ',')
  HUNTAZE_ALLOWED_ORIGINS: join(allowedOrigins, ',')
  HUNTAZE_LOG: 'info,json'
}
var settings = union(commonSettings, realtimeSettings, optionalSettings)

module premiumApp 'modules/function-app-premium.bicep' = if (premium) {
  name: 'function-app-premium'
  params: {
    location: location
    name: '${name}-hub'
    tags: tags
    identityId: identity.id
    settings: settings
    packageUrl: packageUrl
    stagingPackageUrl: stagingPackageUrl
    sku: planSku
    alwaysReady: max(alwaysReadyInstances, 1)
    maximumInstances: maximumInstances
    zoneRedundant: zoneRedundant
    subnetId: appSubnetId
  }
  dependsOn: [
    network
  ]
}

module flexApp 'modules/function-app-flex.bicep' = if (!premium) {
  name: 'function-app-flex'
  params: {
    location: location
    name: '${name}-hub'
    tags: tags
    identityId: identity.id
    settings: settings
    packagesUrl: storage.outputs.packagesUrl
    alwaysReady: alwaysReadyInstances
    maximumInstances: max(maximumInstances, 40)
    subnetId: appSubnetId
  }
  dependsOn: [
    network
  ]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  params: {
    location: location
    name: name
    tags: tags
    alertEmail: alertEmail
    serviceBusId: serviceBus.outputs.id
    workspaceId: monitoring.outputs.workspaceId
    backlogMessages: backlogMessages
    monthlyBudgetUsd: monthlyBudgetUsd
    budgetStart: budgetStart
  }
}

output hosting string = hosting
output appName string = '${name}-hub'
output url string = 'https://${name}-hub.azurewebsites.net'
output storageName string = storage.outputs.name
output packagesUrl string = storage.outputs.packagesUrl
output vaultName string = vault.outputs.name
output databaseServer string = database.outputs.name
output databaseHost string = database.outputs.host
output serviceBusName string = serviceBus.outputs.name
output serviceBusEndpoint string = serviceBus.outputs.endpoint
output reportsTopic string = mail.outputs.reportsTopic
output mailDomainId string = mail.outputs.domainId
output realtime string = realtime
output insightsId string = monitoring.outputs.insightsId
output workspaceId string = monitoring.outputs.workspaceId
