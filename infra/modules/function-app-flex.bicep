// The hub on Flex Consumption: paid by the second, for a small beta. It has no slots.

param location string
param name string
param tags object
param identityId string
param settings object
param packagesUrl string

@description('Instances that are always there; 0 lets it sleep, and the first message wakes it within seconds.')
param alwaysReady int

@description('The most there are at once: the bound of the bill. At least 40.')
param maximumInstances int

@description('The subnet to be in; empty without a network of our own.')
param subnetId string

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  // checkov:skip=CKV_AZURE_225:for a small beta
  name: '${name}-plan'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  // checkov:skip=CKV_AZURE_212:it scales by itself
  // checkov:skip=CKV_AZURE_13:the hub has keys of its own, and unauthenticated health checks
  // checkov:skip=CKV_AZURE_16:it has a user-assigned identity, which outlives the app
  // checkov:skip=CKV_AZURE_17:browsers and backends have no client certificates
  // checkov:skip=CKV_AZURE_71:it has a user-assigned identity, which outlives the app
  // checkov:skip=CKV_AZURE_88:code comes as a package; nothing is written to files
  // checkov:skip=CKV_AZURE_222:the hub's API is public; its keys guard it
  // checkov:skip=CKV_AZURE_213:Flex Consumption has no health check; the workbook shows failures
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
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packagesUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: 2048
        alwaysReady: alwaysReady == 0 ? [] : [
          {
            name: 'http'
            instanceCount: alwaysReady
          }
        ]
      }
    }
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
  properties: settings
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
    appSettings
  ]
}]
