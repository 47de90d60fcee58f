// Where mails' delivery reports go. Deployed after the code: Event Grid asks the hub whether it
// wants them, and the hub has to answer.

@description('The topic that main.bicep made.')
param reportsTopic string

param vaultName string

@description('The hub, without a slash at the end.')
param hubUrl string

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

module reports 'modules/delivery-reports.bicep' = {
  name: 'delivery-reports-subscription'
  params: {
    reportsTopic: reportsTopic
    hubUrl: hubUrl
    key: vault.getSecret('email-reports-key')
  }
}
