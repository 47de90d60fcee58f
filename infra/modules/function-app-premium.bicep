// The hub on a Premium plan: always warm, with a slot to try the next release in.

param location string
param name string
param tags object
param identityId string
param settings object

@description('Where the package of code is; empty before the first release.')
param packageUrl string

@description('The same for the staging slot.')
param stagingPackageUrl string

@allowed([
  'EP1'
  'EP2'
  'EP3'
])
param sku string

@description('Instances that are always there. Each is paid for around the clock.')
param alwaysReady int

@description('The most there are at once: the bound of the bill.')
param maximumInstances int

param zoneRedundant bool

@description('The subnet to be in; empty without a network of our own.')
param subnetId string

// Every function that works by itself. They sleep in the staging slot, which would take production's
// messages otherwise; a test holds the list against function_app.py.
var asleep = {
  'AzureWebJobs.VideoAnalysisWorker.Disabled': 'true'
  'AzureWebJobs.ChatSuggestionsWorker.Disabled': 'true'
  'AzureWebJobs.ContentSuggestionsWorker.Disabled': 'true'
  'AzureWebJobs.ContentAnalysisWorker.Disabled': 'true'
  'AzureWebJobs.NotifySignalRWorker.Disabled': 'true'
  'AzureWebJobs.NotifyEmailWorker.Disabled': 'true'
  'AzureWebJobs.NotifyWebhookWorker.Disabled': 'true'
  'AzureWebJobs.MetricsWorker.Disabled': 'true'
  'AzureWebJobs.Sweep.Disabled': 'true'
  'AzureWebJobs.Replays.Disabled': 'true'
  'AzureWebJobs.DeadLetterCounts.Disabled': 'true'
  'AzureWebJobs.Retention.Disabled': 'true'
}
var fromPackage = empty(packageUrl) ? {} : {
  WEBSITE_RUN_FROM_PACKAGE: packageUrl
}
var fromStagingPackage = empty(stagingPackageUrl) ? {} : {
  WEBSITE_RUN_FROM_PACKAGE: stagingPackageUrl
}
var premium = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
  WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId
  WEBSITE_HEALTHCHECK_MAXPINGFAILURES: '5'
}
var site = {
  linuxFxVersion: 'Python|3.13'
  minTlsVersion: '1.2'
  ftpsState: 'Disabled'
  http20Enabled: true
  healthCheckPath: '/healthz'
  minimumElasticInstanceCount: alwaysReady
  functionAppScaleLimit: maximumInstances
  functionsRuntimeScaleMonitoringEnabled: !empty(subnetId)
  vnetRouteAllEnabled: !empty(subnetId)
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225:a parameter: three zones need three instances
  name: '${name}-plan'
  location: location
  tags: tags
  kind: 'elastic'
  sku: {
    name: sku
    tier: 'ElasticPremium'
    family: 'EP'
    capacity: alwaysReady
  }
  properties: {
    reserved: true
    maximumElasticWorkerCount: maximumInstances
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_212:alwaysReady decides; checkov looks for what Premium plans do not have
  // checkov:skip=CKV_AZURE_13:the hub has keys of its own, and unauthenticated health checks
  // checkov:skip=CKV_AZURE_16:it has a user-assigned identity, which outlives the app
  // checkov:skip=CKV_AZURE_17:browsers and backends have no client certificates
  // checkov:skip=CKV_AZURE_71:it has a user-assigned identity, which outlives the app
  // checkov:skip=CKV_AZURE_88:code comes as a package; nothing is written to files
  // checkov:skip=CKV_AZURE_222:the hub's API is public; its keys guard it
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: site
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_63:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_65:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_66:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_80:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_88:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_222:these are the app's settings, not the site's
  parent: app
  name: 'appsettings'
  properties: union(settings, premium, fromPackage)
}

resource stays 'Microsoft.Web/sites/config@2024-04-01' = {
  // checkov:skip=CKV_AZURE_13:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_63:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_65:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_66:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_80:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_88:these are the app's settings, not the site's
  // checkov:skip=CKV_AZURE_222:these are the app's settings, not the site's
  parent: app
  name: 'slotConfigNames'
  properties: {
    appSettingNames: [for worker in items(asleep): worker.key]
  }
  dependsOn: [
    appSettings
  ]
}

resource staging 'Microsoft.Web/sites/slots@2024-04-01' = {
  // checkov:skip=CKV_AZURE_212:alwaysReady decides; checkov looks for what Premium plans do not have
  // checkov:skip=CKV_AZURE_222:releases are tried here before they are swapped in
  parent: app
  name: 'staging'
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: site
  }
  dependsOn: [
    stays
  ]
}

resource stagingSettings 'Microsoft.Web/sites/slots/config@2024-04-01' = {
  parent: staging
  name: 'appsettings'
  properties: union(settings, premium, asleep, fromStagingPackage)
}

resource noPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = [for way in [
  'ftp'
  'scm'
]: {
  parent: app
  name: way
  properties: {
    allow: false
  }
  dependsOn: [
    stays
  ]
}]
